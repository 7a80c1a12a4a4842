"""What a bundle knows of its users: attributes and histories at build time, ready to be encoded a few at a time."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from features.batches import FeatureBatch, JaggedArray
from features.feature_table import FeatureEncoder, FeatureTable
from features.vocabulary import Vocabulary

#: what is encoded when a bundle is loaded, at about a million a second; more is encoded when it is asked for
_AT_LOAD = 2_000_000


class KnownUsers:
    """Users in the order of their vocabulary.

    Args:
        encoder: Of the user side's features.
        attributes: The declared columns. (U rows)
        histories: Raw item ids, oldest first, as a column of lists. (U rows)
        trained: Whether training has seen an interaction of the user; the id of others means nothing to a model. (U,)
        items: The vocabulary of item ids.
        times: When each of the histories' items came, as a column of lists, for models that read times. (U rows)
        until: When the latest item of each history came; null for none. Bundles of before lack it. (U,)
    """

    def __init__(
        self,
        encoder: FeatureEncoder,
        attributes: pl.DataFrame,
        histories: pl.Series,
        trained: np.ndarray,
        items: Vocabulary,
        times: pl.Series | None = None,
        until: pl.Series | None = None,
    ) -> None:
        self.encoder = encoder
        self.attributes = attributes
        self.trained = trained
        self.items = items
        self._offsets = np.concatenate([[0], np.cumsum(histories.list.len().to_numpy())]).astype(np.int64)
        # empty lists would explode to a null each
        self._item_ids = histories.filter(histories.list.len() > 0).explode()
        self._until = until
        self._times = None if times is None else times.filter(times.list.len() > 0).explode().to_numpy()

    def __len__(self) -> int:
        return len(self.trained)

    @property
    def timed(self) -> bool:
        """Whether histories have times."""
        return self._times is not None

    @property
    def n_interactions(self) -> int:
        """Of all histories together."""
        return len(self._item_ids)

    def features(self, rows: np.ndarray) -> FeatureBatch:
        """The declared features of some users, without their histories. (B,) -> B rows."""
        if self._table is not None:
            return self._table.take(rows)
        table = self.encoder.encode(self.attributes[rows], known=self.trained[rows])
        return table.take(np.arange(len(rows)))

    def histories(self, rows: np.ndarray) -> JaggedArray:
        """The item rows of some users' histories, oldest first; none for row -1. (B,) -> B rows."""
        known = rows >= 0
        safe = np.where(known, rows, 0)
        lengths = np.where(known, self._offsets[safe + 1] - self._offsets[safe], 0)
        ends = np.cumsum(lengths)
        at = np.repeat(self._offsets[safe] - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
        values = self._item_rows[at] if self._item_rows is not None else self.items.rows(self._item_ids.gather(at))
        return JaggedArray(values, np.concatenate([[0], ends]), None if self._times is None else self._times[at])

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """How long some users' histories are. (B,) -> (B,) int64"""
        return self._offsets[rows + 1] - self._offsets[rows]

    def until(self, rows: np.ndarray) -> list[int | None]:
        """When the latest item of some users' histories came; None for row -1, and where that is not told. (B,)"""
        if self._until is None or not len(self):
            return [None] * len(rows)
        return self._until.gather(np.maximum(rows, 0)).set(pl.Series(rows < 0), None).to_list()

    @cached_property
    def latest(self) -> int | None:
        """When the latest item of all histories came, where that is told."""
        latest: Any = None if self._until is None else self._until.max()
        return latest

    def rows(self, rows: np.ndarray) -> JaggedArray:
        """Their histories, as `recsys.interests` asks for them. (B,) -> B rows."""
        return self.histories(rows)

    @cached_property
    def _table(self) -> FeatureTable | None:
        if len(self) > _AT_LOAD:
            return None
        return self.encoder.encode(self.attributes, known=self.trained)

    @cached_property
    def _item_rows(self) -> np.ndarray | None:
        return self.items.rows(self._item_ids) if len(self._item_ids) <= _AT_LOAD else None

    def warm(self) -> None:
        """Encodes what is encoded at load."""
        self.histories(np.zeros(min(1, len(self)), np.int64))
        self.features(np.zeros(min(1, len(self)), np.int64))
