"""The same tables as TorchRec collections: what training uses, and what DistributedModelParallel shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchrec import (
    EmbeddingBagCollection,
    EmbeddingBagConfig,
    EmbeddingCollection,
    EmbeddingConfig,
    KeyedJaggedTensor,
    PoolingType,
)

from features.batches import Jagged
from recsys.embeddings.layout import TableShape


class TorchRecTables(nn.Module):
    """Takes and gives what `PlainTables` does, under the same weight names.

    Pooled tables are one EmbeddingBagCollection, sequence tables one EmbeddingCollection: the two modules that a
    sharding plan replaces by their sharded selves. Nothing here changes when it does.

    Args:
        shapes: The tables.
        initial_range: Weights start uniform in +- this.
        deferred: Allocate nothing: sharding will, each process its own part.
    """

    def __init__(self, shapes: Sequence[TableShape], initial_range: float, deferred: bool = False) -> None:
        super().__init__()
        device = torch.device("meta") if deferred else None
        self._pooled_names: list[str] = []
        self._sequence_names: list[str] = []
        pooled, sequence = [], []
        for shape in shapes:
            (self._sequence_names if shape.sequence else self._pooled_names).extend(shape.bags)
            settings = {
                "name": shape.name,
                "num_embeddings": shape.rows,
                "embedding_dim": shape.width,
                "feature_names": list(shape.bags),
                "init_fn": lambda weight: nn.init.uniform_(weight, -initial_range, initial_range),
            }
            if shape.sequence:
                sequence.append(EmbeddingConfig(**settings))
            else:
                pooled.append(EmbeddingBagConfig(pooling=PoolingType.SUM, **settings))
        if pooled:
            self.pooled = EmbeddingBagCollection(tables=pooled, device=device)
        if sequence:
            self.sequence = EmbeddingCollection(tables=sequence, device=device)

    def forward(self, bags: Mapping[str, Jagged]) -> dict[str, Tensor]:
        """Looks up bags of table rows: see `PlainTables.forward`."""
        found: dict[str, Tensor] = {}
        size, bags = _not_none(bags)
        # asked for before any answer is read, so that the exchanges between processes overlap
        pooled = self.pooled(keyed_jagged(self._pooled_names, bags)) if self._pooled_names else None
        sequence = self.sequence(keyed_jagged(self._sequence_names, bags)) if self._sequence_names else None
        if pooled is not None:
            summed = pooled.to_dict()
            # a slice of everything is a copy in the backward pass
            found.update(
                {name: summed[name] if size else summed[name][:0] for name in self._pooled_names if name in bags}
            )
        if sequence is not None:
            found.update({name: sequence[name].values() for name in self._sequence_names if name in bags})
        return found

    def matrix(self, bags: Mapping[str, Jagged]) -> Tensor:
        """Pooled look-ups side by side: see `PlainTables.matrix`. No copy of what TorchRec answers, if it is all."""
        size, bags = _not_none(bags)
        found = self.pooled(keyed_jagged(self._pooled_names, bags))
        if list(found.keys()) == list(bags):
            matrix = found.values()
        else:
            apart = found.to_dict()
            matrix = torch.cat([apart[name] for name in bags], dim=1)
        return matrix if size else matrix[:0]


def _not_none(bags: Mapping[str, Jagged]) -> tuple[int, Mapping[str, Jagged]]:
    """B, and bags for TorchRec's collections: they need a row, if an empty one, where a process has none of a batch."""
    size = len(next(iter(bags.values())))
    if size:
        return size, bags
    return 0, {name: Jagged(bag.values, bag.lengths.new_zeros(1)) for name, bag in bags.items()}


def keyed_jagged(names: Sequence[str], bags: Mapping[str, Jagged]) -> KeyedJaggedTensor:
    """The look-ups `names` as one KeyedJaggedTensor; those not asked for (the other tower's) have empty bags."""
    some = next(iter(bags.values()))
    nothing = Jagged(some.values.new_empty(0), torch.zeros_like(some.lengths))
    parts = [bags.get(name, nothing) for name in names]
    return KeyedJaggedTensor(
        keys=list(names),
        values=torch.cat([part.values for part in parts]),
        lengths=torch.cat([part.lengths for part in parts]),
    )
