"""Items whose texts say alike: what a language model knows without having seen an interaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from features.batches import Jagged
from features.errors import InputError
from recsys.baselines.baseline import ALL, Baseline


@dataclass(frozen=True)
class VectorKNNConfig:
    """Settings of `VectorKNN`.

    Args:
        recent: A history's last so many items count; 0 for all.
        decay: Of these, each counts so many times as much as the one after it; 1 for all alike.
    """

    recent: int = 0
    decay: float = 1.0

    def __post_init__(self) -> None:
        if self.recent < 0:
            raise InputError(f"vector-knn's recent is 0 or more, got {self.recent}")
        if not 0 < self.decay <= 1:
            raise InputError(f"vector-knn's decay is in (0, 1], got {self.decay}")


class VectorKNN(Baseline):
    """The sum of cosines between a candidate's vector and those of the last items of a history.

    Example:
        >>> model = VectorKNN().fit(np.array([[1, 0], [3, 4], [0, 2]], dtype=np.float32))
        >>> model.scores(Jagged(torch.tensor([0]), torch.tensor([1]))).round(decimals=2).tolist()
        [[1.0, 0.6, 0.0]]
    """

    vectors: Tensor  # (N, V), of length 1; zeros for an item without one

    def __init__(self, config: VectorKNNConfig = VectorKNNConfig()) -> None:
        self.config = config

    def fit(self, vectors: np.ndarray) -> Self:
        """Takes the items' vectors; zeros for an item without one. (N, V)"""
        self.vectors = torch.nn.functional.normalize(torch.from_numpy(vectors).float(), dim=1)
        return self

    def scores(self, histories: Jagged, items: slice = ALL) -> Tensor:
        """Sums each candidate's cosines with the last items of a history. (B, n) float32.

        Args:
            histories: Item rows, oldest first; -1 is ignored. (B rows)
            items: Which items are scored.
        """
        values, lengths = histories.values, histories.lengths
        ends = torch.repeat_interleave(lengths.cumsum(0), lengths)
        from_end = ends - 1 - torch.arange(len(values))
        counts = values >= 0
        if self.config.recent:
            counts &= from_end < self.config.recent
        weights = self.config.decay**from_end * counts
        rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        users = torch.zeros(len(lengths), self.vectors.shape[1])
        users.index_add_(0, rows, self.vectors[values.clamp(min=0)] * weights[:, None])
        return users @ self.vectors[items].T
