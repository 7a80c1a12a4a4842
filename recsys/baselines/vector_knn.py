"""Items whose texts say alike: what a language model knows without having seen an interaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from recsys.baselines.cosine_knn import CosineKNN, CosineKNNConfig
from recsys.directions import directions


@dataclass(frozen=True)
class VectorKNNConfig(CosineKNNConfig):
    """Settings of `VectorKNN`."""

    name: ClassVar[str] = "vector-knn"


class VectorKNN(CosineKNN):
    """The sum of cosines between a candidate's vector, such as that of its text, and those of a history's last items.

    Example:
        >>> import torch
        >>> from features.batches import Jagged
        >>> model = VectorKNN().fit(np.array([[1, 0], [3, 4], [0, 2]], dtype=np.float32))
        >>> model.scores(Jagged(torch.tensor([0]), torch.tensor([1]))).round(decimals=2).tolist()
        [[1.0, 0.6, 0.0]]
    """

    def __init__(self, config: VectorKNNConfig = VectorKNNConfig()) -> None:
        self.config = config

    def fit(self, vectors: np.ndarray) -> Self:
        """Takes the items' vectors; zeros for an item without one. (N, V)"""
        self.vectors = directions(vectors)
        return self
