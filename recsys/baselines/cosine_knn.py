"""Items that are like those of a history, whatever their vectors are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from features.batches import Jagged
from features.errors import InputError
from recsys.baselines.baseline import ALL, Baseline


@dataclass(frozen=True)
class CosineKNNConfig:
    """Which items of a history count, and how much.

    Args:
        recent: A history's last so many items count; 0 for all, which is best where histories are short.
        decay: Of these, each counts so many times as much as the one after it; 1 for all alike.
    """

    recent: int = 0
    decay: float = 1.0

    #: what the baseline is called
    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if self.recent < 0:
            raise InputError(f"{self.name}'s recent is 0 or more, got {self.recent}")
        if not 0 < self.decay <= 1:
            raise InputError(f"{self.name}'s decay is in (0, 1], got {self.decay}")


class CosineKNN(Baseline):
    """The sum of cosines between a candidate's vector and those of the last items of a history.

    No interaction is read, so an item that has none is scored as any other: baselines for cold items.
    """

    config: CosineKNNConfig
    vectors: sparse.csr_array | np.ndarray  # (N, V) float32, rows of length 1, or of zeros

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
        scores = (recent @ self.vectors) @ self.vectors[items].T
        return torch.from_numpy(scores.toarray() if sparse.issparse(scores) else scores)
