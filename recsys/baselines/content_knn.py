"""Items that are described alike: what can be said of an item that nobody has taken yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy import sparse

from features.errors import InputError
from features.feature_table import FeatureTable
from recsys.baselines.cosine_knn import CosineKNN, CosineKNNConfig


@dataclass(frozen=True)
class ContentKNNConfig(CosineKNNConfig):
    """Settings of `ContentKNN`, besides which items of a history count.

    Args:
        rarity: A value counts by the logarithm of how rare it is among the items (inverse document frequency), and not
            as much as any other.
    """

    rarity: bool = True

    name: ClassVar[str] = "content-knn"


class ContentKNN(CosineKNN):
    """The sum of cosines between a candidate's attributes and those of the last items of a history.

    An item is a vector with an entry for each value that any of its features can have.

    Example:
        >>> import torch
        >>> from features.batches import Jagged, JaggedArray
        >>> genres = JaggedArray(np.array([0, 1, 0, 2]), np.array([0, 2, 3, 4]))
        >>> model = ContentKNN(ContentKNNConfig(rarity=False)).fit(FeatureTable({"genres": genres}, {}, 3), ["genres"])
        >>> model.scores(Jagged(torch.tensor([1]), torch.tensor([1]))).round(decimals=2).tolist()
        [[0.71, 1.0, 0.0]]
    """

    config: ContentKNNConfig

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
