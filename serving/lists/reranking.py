"""Re-ranking: a model that sees user and item together orders the candidates that the retriever found."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from features.batches import FeatureBatch, Jagged, JaggedArray
from features.feature_table import FeatureTable

#: values of features that are scored at a time, about; a user's history is repeated for each candidate
_MOST = 1 << 22


class Reranker:
    """Orders candidates by a ranker. Safe to share between threads.

    Args:
        ranker: Features of n users and n items in one batch -> n logits.
        items: The catalogue's features, in row order. (N rows)
    """

    def __init__(self, ranker: nn.Module, items: FeatureTable) -> None:
        self._ranker = ranker
        self._items = items

    def best(
        self, users: list[tuple[np.ndarray, FeatureBatch]], rows: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best candidates of each user; of equal ones, the one that came first.

        Args:
            users: Features of B users, histories included: batches, and which of the B users their rows are.
            rows: The users' candidates, item rows, best first; -1 for none. (B, C)
            k: How many.

        Returns:
            Probabilities (B, k) float32 and item rows (B, k) int64, best first; 0 and -1 where no candidate is left.
        """
        logits = np.full(rows.shape, -np.inf, dtype=np.float32)
        for members, batch in users:
            logits[members] = self._logits_of(batch, rows[members])
        order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
        best, scores = np.take_along_axis(rows, order, 1), _probabilities(np.take_along_axis(logits, order, 1))
        missing = ((0, 0), (0, k - best.shape[1]))
        return np.pad(scores, missing), np.pad(best, missing, constant_values=-1)

    def _logits_of(self, users: FeatureBatch, rows: np.ndarray) -> np.ndarray:
        """Each user's candidates' logits, -inf where there is none. B rows, (B, C) -> (B, C) float32"""
        logits = np.full(rows.shape, -np.inf, dtype=np.float32)
        there = rows >= 0
        sizes = sum((one.lengths.numpy() for one in users.sparse.values()), np.ones(len(rows), np.int64))
        costs = np.cumsum(there.sum(axis=1) * sizes)  # (B,)
        starts = np.flatnonzero(np.diff(costs // _MOST, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            who, place = np.nonzero(there[start:stop])
            if len(who):
                logits[start + who, place] = self._logits(users, start + who, rows[start + who, place])
        return logits

    def _logits(self, users: FeatureBatch, who: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Of pairs of users, by their place in the batch, and item rows. (n,), (n,) -> (n,) float32"""
        features = self._items.take(items)
        for name, values in users.sparse.items():
            features.sparse[name] = _taken(values, who)
        at = torch.from_numpy(who)
        features.dense |= {name: numbers[at] for name, numbers in users.dense.items()}
        with torch.inference_mode():
            logits: Tensor = self._ranker(features).float()
        # numbers so large that they overflow say nothing for or against an item
        return np.nan_to_num(logits.numpy(), nan=float(np.finfo(np.float32).min))


def _taken(jagged: Jagged, rows: np.ndarray) -> Jagged:
    ends = np.cumsum(jagged.lengths.numpy())
    return JaggedArray(jagged.values.numpy(), np.concatenate([[0], ends])).take(rows)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """The logistic function, in a form that does not overflow."""
    small = np.exp(-np.abs(logits.astype(np.float64)))
    return (np.where(logits >= 0, 1, small) / (1 + small)).astype(np.float32)
