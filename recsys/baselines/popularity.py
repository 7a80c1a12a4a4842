"""What most histories hold."""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor

from features.batches import Jagged, JaggedArray
from recsys.baselines.baseline import ALL, Baseline


class Popularity(Baseline):
    """Every user is recommended what most histories hold.

    Example:
        >>> model = Popularity().fit(JaggedArray(np.array([2, 0, 2]), np.array([0, 2, 3])), n_items=4)
        >>> model.scores(Jagged(torch.tensor([1]), torch.tensor([1]))).tolist()
        [[1.0, 0.0, 2.0, 0.0]]
    """

    counts: Tensor  # (N,) int64

    def fit(self, histories: JaggedArray, n_items: int) -> Self:
        """Counts how often each item occurs.

        Args:
            histories: Item rows. (U rows)
            n_items: N
        """
        self.counts = torch.from_numpy(np.bincount(histories.values, minlength=n_items))
        return self

    def scores(self, histories: Jagged, items: slice = ALL) -> Tensor:
        """The counts, for each user the same. (B, n) float32.

        Args:
            histories: Only their number matters. (B rows)
            items: Which items are scored.
        """
        return self.counts[items].float().repeat(len(histories), 1)
