"""The same tables as a TorchRec EmbeddingBagCollection: what training uses, and what can be sharded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType

from features.batches import Jagged
from recsys.embeddings.tables import TableShape


def torchrec_tables(shapes: Sequence[TableShape], initial_range: float) -> TorchRecTables:
    """The tables of `shapes`, sum-pooled, with weights uniform in +- `initial_range`."""
    configs = [
        EmbeddingBagConfig(
            name=shape.name,
            num_embeddings=shape.rows,
            embedding_dim=shape.width,
            feature_names=list(shape.bags),
            pooling=PoolingType.SUM,
            init_fn=lambda weight: nn.init.uniform_(weight, -initial_range, initial_range),
        )
        for shape in shapes
    ]
    return TorchRecTables(tables=configs)


class TorchRecTables(EmbeddingBagCollection):
    """An EmbeddingBagCollection that takes and gives what `PlainTables` does, under the same weight names."""

    def forward(self, bags: Mapping[str, Jagged]) -> dict[str, Tensor]:
        """Looks up bags of table rows: see `PlainTables.forward`."""
        batch = len(next(iter(bags.values())))
        keyed = super().forward(self.keyed_jagged(bags, batch)).to_dict()
        return {name: keyed[name] for name in bags}

    def keyed_jagged(self, bags: Mapping[str, Jagged], batch: int) -> KeyedJaggedTensor:
        """All declared look-ups as one KeyedJaggedTensor; those not asked for (the other tower's) have empty bags."""
        names = [name for config in self.embedding_bag_configs() for name in config.feature_names]
        some = next(iter(bags.values()))
        nothing = Jagged(some.values.new_empty(0), torch.zeros(batch, dtype=torch.int64, device=some.values.device))
        parts = [bags.get(name, nothing) for name in names]
        return KeyedJaggedTensor(
            keys=names,
            values=torch.cat([part.values for part in parts]),
            lengths=torch.cat([part.lengths for part in parts]),
        )
