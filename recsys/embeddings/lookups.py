"""Look-ups: jagged vocabulary rows in, one embedding a feature out; by plain torch or by TorchRec, same weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from features.batches import Jagged
from features.hashing import hashed_rows, salt_of, string_keys
from features.vocabulary import Vocabulary
from recsys.embeddings.layout import Layout
from recsys.embeddings.plan import EmbeddingPlan, FeatureLookup
from recsys.embeddings.tables import PlainTables

#: the raw id that stands for "an id that training has not seen"; hashed like any other
_UNKNOWN = "\x00unknown"


class Embeddings(nn.Module):
    """The embeddings of all features of a model.

    Args:
        plan: How features are embedded.
        lookups: The features, with their identities and poolings.
        vocabularies: For each identity, the ids that its rows stand for.
        backend: "torch" looks up with plain torch kernels (serving); "torchrec" with TorchRec's collections (training);
            "sharded" leaves these without memory, for `training.sharding` to allocate where they belong. The state
            dictionaries are the same.

    Attributes:
        widths: Width E of each feature's embedding.
        layout: The tables.

    Example:
        >>> items = Vocabulary.fit("item_id", pl.Series(range(9)))
        >>> embed = Embeddings(EmbeddingPlan(width=4), [FeatureLookup("item_id", "item_id")], {"item_id": items})
        >>> embed({"item_id": Jagged(torch.tensor([3, 8, -1]), torch.tensor([2, 1]))})["item_id"].shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        plan: EmbeddingPlan,
        lookups: Sequence[FeatureLookup],
        vocabularies: Mapping[str, Vocabulary],
        backend: Literal["torch", "torchrec", "sharded"] = "torch",
    ) -> None:
        super().__init__()
        self.plan = plan
        self.lookups = {lookup.feature: lookup for lookup in lookups}
        self.sizes = {lookup.identity: len(vocabularies[lookup.identity]) for lookup in lookups}
        self.layout = Layout.of(plan, lookups, self.sizes)
        self.widths = {lookup.feature: plan.width_of(lookup.identity) for lookup in lookups}
        self._unpooled = {
            bag.rpartition("/")[0] for table in self.layout.tables if table.sequence for bag in table.bags
        }
        if backend == "torch":
            self.tables = PlainTables(self.layout.tables, plan.initial_range)
        else:
            from recsys.embeddings.torchrec_tables import TorchRecTables

            self.tables = TorchRecTables(self.layout.tables, plan.initial_range, deferred=backend == "sharded")
        self._buffer_of: dict[str, str] = {}
        if plan.kind != "collisionless":
            for n, identity in enumerate(self.sizes):
                rows = [self.layout.tables[table].rows for table in self.layout.table_of[identity]]
                self._buffer_of[identity] = f"_addresses_{n}"
                # hashed once, not at each look-up; it follows from the vocabulary, so it is not a weight
                addresses = _addresses(identity, vocabularies[identity], rows)
                self.register_buffer(self._buffer_of[identity], addresses, persistent=False)

    def addresses(self, feature: str, rows: Tensor) -> list[Tensor]:
        """The table rows of a feature's values, one tensor a look-up.

        Args:
            feature: A feature's name.
            rows: Vocabulary rows, -1 for unknown. (T,) int64
        """
        identity = self.lookups[feature].identity
        rows = torch.where(rows < 0, self.sizes[identity], rows)  # the default entry comes after the last id
        if self.plan.kind == "collisionless":
            return [rows]
        found = getattr(self, self._buffer_of[identity]).index_select(0, rows)  # (T, look-ups)
        return list(found.t().long().unbind(0))

    def forward(self, sparse: Mapping[str, Jagged]) -> dict[str, Tensor]:
        """Embeds the features that are given, of B users or B items.

        Args:
            sparse: Feature name to vocabulary rows, jagged. A feature that is not declared is an error.

        Returns:
            Feature name to embedding, zero where a row has no value (B, E); for the pooling "none", a vector for each
            value (T, E).
        """
        bags: dict[str, Jagged] = {}
        for feature, jagged in sparse.items():
            rows = jagged.values
            if self.training and self.plan.unknown_rate and self.lookups[feature].unknowns:
                rows = self._forgetting(rows)
            for n, address in enumerate(self.addresses(feature, rows)):
                bags[f"{feature}/{n}"] = Jagged(address, jagged.lengths)
        found = self.tables(bags)
        embedded = {}
        for feature, jagged in sparse.items():
            lookup = self.lookups[feature]
            parts = [found[f"{feature}/{n}"] for n in range(self.plan.lookups_of(lookup.identity))]
            vectors = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            if feature in self._unpooled and lookup.pooling != "none":
                vectors = vectors.new_zeros(len(jagged), vectors.shape[1]).index_add(0, jagged.row_of_value, vectors)
            embedded[feature] = _scaled(vectors, jagged.lengths, lookup.pooling)
        return embedded

    def _forgetting(self, rows: Tensor) -> Tensor:
        """Takes the declared share of the ids for unknown, by so few draws as that needs. (T,) -> (T,)"""
        # n draws with replacement miss a place with probability e^(-n / T)
        count = int(-math.log1p(-self.plan.unknown_rate) * rows.numel() + torch.rand(()).item())
        places = torch.randint(max(1, rows.numel()), (count,), device=rows.device)
        return rows.index_fill(0, places, -1)


def _scaled(summed: Tensor, lengths: Tensor, pooling: str) -> Tensor:
    """From the sum of a row's values to the declared pooling. (B, E)"""
    if pooling in ("sum", "none"):
        return summed
    count = lengths.clamp(min=1).to(summed.dtype)[:, None]  # (B, 1)
    return summed / (count if pooling == "mean" else count.sqrt())


def _addresses(identity: str, vocabulary: Vocabulary, rows: Sequence[int]) -> Tensor:
    """Where each id's look-ups are in tables of so many rows, and last those of the unknown id. (V + 1, L) int32"""
    unknown = string_keys(pl.Series([_UNKNOWN]))
    keys = torch.from_numpy(np.concatenate([vocabulary.keys, unknown]))
    return torch.stack([hashed_rows(keys, salt_of(identity, n), count) for n, count in enumerate(rows)], dim=1)
