"""What baselines have in common: scores of users' histories, in chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy import sparse
from torch import Tensor

from features.batches import Jagged, JaggedArray
from recsys.top_k import Scorer

ALL = slice(None)


class Baseline(ABC):
    """Scores all items for users by their histories, once it is fitted."""

    @abstractmethod
    def scores(self, histories: Jagged, items: slice = ALL) -> Tensor:
        """The users' scores for all items or a range of them. (B, n) float32."""

    def scorer(self, histories: JaggedArray) -> Scorer:
        """Scores of chunks of these users, for a full ranking. (B rows)."""
        return lambda users, items: self.scores(histories.take(np.arange(users.start, users.stop)), items)


def incidence(items: np.ndarray, lengths: np.ndarray, n_items: int) -> sparse.csr_array:
    """1 where a user has an item. (B, N) float32."""
    known = items >= 0
    users = np.repeat(np.arange(len(lengths)), lengths)[known]
    ones = np.ones(len(users), dtype=np.float32)
    matrix = sparse.csr_array((ones, (users, items[known])), shape=(len(lengths), n_items))  # repeats are added up
    matrix.data[:] = 1
    return matrix
