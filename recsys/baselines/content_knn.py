"""Items that are described alike: what can be said of an item that nobody has taken yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from features.batches import Jagged
from features.errors import InputError
from features.feature_table import FeatureTable
from recsys.baselines.baseline import ALL, Baseline


@dataclass(frozen=True)
class ContentKNNConfig:
    """Settings of `ContentKNN`.

    Args:
        recent: A history's last so many items count; 0 for all, which is best where histories are short.
        decay: Of these, each counts so many times as much as the one after it; 1 for all alike.
        rarity: A value counts by the logarithm of how rare it is among the items (inverse document frequency), and not
            as much as any other.
    """

    recent: int = 0
    decay: float = 1.0
    rarity: bool = True

    def __post_init__(self) -> None:
        if self.recent < 0:
            raise InputError(f"content-knn's recent is 0 or more, got {self.recent}")
        if not 0 < self.decay <= 1:
            raise InputError(f"content-knn's decay is in (0, 1], got {self.decay}")


class ContentKNN(Baseline):
    """The sum of cosines between a candidate's attributes and those of the last items of a history.

    An item is a vector with an entry for each value that any of its features can have. No interaction is read, so an
    item that has none is scored as any other: the baseline for cold items.

    Example:
        >>> from features.batches import JaggedArray
        >>> genres = JaggedArray(np.array([0, 1, 0, 2]), np.array([0, 2, 3, 4]))
        >>> model = ContentKNN(ContentKNNConfig(rarity=False)).fit(FeatureTable({"genres": genres}, {}, 3), ["genres"])
        >>> model.scores(Jagged(torch.tensor([1]), torch.tensor([1]))).round(decimals=2).tolist()
        [[0.71, 1.0, 0.0]]
    """

    vectors: sparse.csr_array  # (N, values), rows of length 1, float32

    def __init__(self, config: ContentKNNConfig = ContentKNNConfig()) -> None:
        self.config = config

    def fit(self, items: FeatureTable, features: Sequence[str]) -> Self:
        """Makes the items' vectors.

        Args:
            items: The catalogue's features; values that training does not know (-1) count for nothing. (N rows)
            features: Which of the embedded ones count; an id says nothing of what items have in common.

        Raises:
            InputError: No feature, or one that the items have not.
        """
        if not features:
            raise InputError("content-knn needs at least one item feature")
        parts = []
        for name in features:
            if name not in items.sparse:
                raise InputError(f"content-knn reads {name!r}, which is none of {', '.join(items.sparse)}")
            values = items.sparse[name]
            known = values.values >= 0
            where = np.repeat(np.arange(items.size), values.lengths)[known]
            width = int(values.values.max(initial=-1)) + 1
            ones = np.ones(len(where), dtype=np.float32)
            parts.append(sparse.csr_array((ones, (where, values.values[known])), shape=(items.size, width)))
        vectors = sparse.csr_array(sparse.hstack(parts, format="csr"))
        if self.config.rarity:
            holders = np.bincount(vectors.indices, minlength=vectors.shape[1])
            vectors.data *= np.log(items.size / np.maximum(holders, 1)).astype(np.float32)[vectors.indices]
        norms = np.sqrt(vectors.multiply(vectors).sum(axis=1))
        vectors.data /= np.repeat(np.where(norms > 0, norms, 1), np.diff(vectors.indptr)).astype(np.float32)
        self.vectors = vectors
        return self

    def scores(self, histories: Jagged, items: slice = ALL) -> Tensor:
        """Sums each candidate's cosines with the last items of a history. (B, n) float32.

        Args:
            histories: Item rows, oldest first; -1 is ignored. (B rows)
            items: Which items are scored.
        """
        values, lengths = histories.values.numpy(), histories.lengths.numpy()
        from_end = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(values))
        counts = values >= 0
        if self.config.recent:
            counts &= from_end < self.config.recent
        weights = (self.config.decay ** from_end[counts]).astype(np.float32)
        users = np.repeat(np.arange(len(lengths)), lengths)[counts]
        shape = (len(lengths), self.vectors.shape[0])
        recent = sparse.csr_array((weights, (users, values[counts])), shape=shape)  # an item met twice counts twice
        return torch.from_numpy(((recent @ self.vectors) @ self.vectors[items].T).toarray())
