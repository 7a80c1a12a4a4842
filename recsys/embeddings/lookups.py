"""Look-ups: jagged vocabulary rows in, one embedding a feature out; by plain torch or by TorchRec, same weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from features.batches import Jagged
from features.hashing import bucket, mix64, salt_of, string_keys
from features.vocabulary import Vocabulary
from recsys.embeddings.plan import EmbeddingPlan, FeatureLookup
from recsys.embeddings.tables import PlainTables, TableShape

#: the raw id that stands for "an id that training has not seen"; hashed like any other
_UNKNOWN = "\x00unknown"


class Embeddings(nn.Module):
    """The embeddings of all features of a model.

    Args:
        plan: How features are embedded.
        lookups: The features, with their identities and poolings.
        vocabularies: For each identity, the ids that its rows stand for.
        backend: "torch" looks up with plain torch kernels (serving); "torchrec" with an EmbeddingBagCollection
            (training). The state dictionaries are the same.

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
        backend: Literal["torch", "torchrec"] = "torch",
    ) -> None:
        super().__init__()
        self.plan = plan
        self.lookups = {lookup.feature: lookup for lookup in lookups}
        self.sizes = {lookup.identity: len(vocabularies[lookup.identity]) for lookup in lookups}
        self._count = plan.lookups if plan.kind == "multiplexed" else 1
        self.shapes = shapes = self._shapes()
        if backend == "torchrec":
            from recsys.embeddings.torchrec_tables import torchrec_tables

            self.tables = torchrec_tables(shapes, plan.initial_range)
        else:
            self.tables = PlainTables(shapes, plan.initial_range)
        if plan.kind == "multiplexed":
            for identity in self.sizes:
                # hashed once, not at each look-up; it follows from the vocabulary, so it is not a weight
                addresses = _addresses(identity, vocabularies[identity], self._count, shapes[0].rows)
                self.register_buffer(f"_addresses_{identity}", addresses, persistent=False)

    def _shapes(self) -> list[TableShape]:
        """The tables, and which look-ups each of them answers."""
        if self.plan.kind == "multiplexed":
            names = tuple(f"{feature}/{n}" for feature in self.lookups for n in range(self._count))
            rows = self.plan.table_rows(list(self.sizes.values()))
            return [TableShape("unified", rows, self.plan.width // self._count, names)]
        names_of = {
            identity: tuple(f"{one.feature}/0" for one in self.lookups.values() if one.identity == identity)
            for identity in self.sizes
        }
        return [
            TableShape(identity, size + 1, self.plan.width, names_of[identity]) for identity, size in self.sizes.items()
        ]

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
        return list(getattr(self, f"_addresses_{identity}")[rows].unbind(1))

    def forward(self, sparse: Mapping[str, Jagged]) -> dict[str, Tensor]:
        """Embeds the features that are given, of B users or B items.

        Args:
            sparse: Feature name to vocabulary rows, jagged. A feature that is not declared is an error.

        Returns:
            Feature name to embedding, zero where a row has no value. (B, E) each
        """
        bags: dict[str, Jagged] = {}
        for feature, jagged in sparse.items():
            rows = jagged.values
            if self.training and self.plan.unknown_rate and self.lookups[feature].unknowns:
                forget = torch.rand(rows.shape, device=rows.device) < self.plan.unknown_rate
                rows = torch.where(forget, -1, rows)
            for n, address in enumerate(self.addresses(feature, rows)):
                bags[f"{feature}/{n}"] = Jagged(address, jagged.lengths)
        pooled = self.tables(bags)
        return {
            feature: self._scaled(
                torch.cat([pooled[f"{feature}/{n}"] for n in range(self._count)], dim=1), jagged.lengths, feature
            )
            for feature, jagged in sparse.items()
        }

    def _scaled(self, summed: Tensor, lengths: Tensor, feature: str) -> Tensor:
        """From the sum of a row's values to the declared pooling. (B, E)"""
        pooling = self.lookups[feature].pooling
        if pooling == "sum":
            return summed
        count = lengths.clamp(min=1).to(summed.dtype)[:, None]  # (B, 1)
        return summed / (count if pooling == "mean" else count.sqrt())


def _addresses(identity: str, vocabulary: Vocabulary, count: int, n_rows: int) -> Tensor:
    """Where each id's look-ups are in the shared table, and at the end those of the unknown id. (V + 1, count) int64"""
    unknown = string_keys(pl.Series([_UNKNOWN]))
    keys = torch.from_numpy(np.concatenate([vocabulary.keys, unknown]))
    return torch.stack([bucket(mix64(keys, salt_of(identity, n)), n_rows) for n in range(count)], dim=1)
