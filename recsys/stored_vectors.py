"""The vectors inside an index, read back, and compared one by one where that is better than asking the index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys.row_set import RowSet

#: vectors that are decoded or compared at a time: a few megabytes, which stay in the cache
BLOCK = 1 << 14

#: queries whose scores for a block are held at a time
_TOGETHER = 256


class StoredVectors:
    """What an index stores of N items.

    Args:
        index: Decodes vectors, if need be.
        plain: The vectors, where they lie there as they are. (N, D) float32
    """

    def __init__(self, index: Any, plain: np.ndarray | None) -> None:
        self._index, self._plain = index, plain

    @property
    def plain(self) -> bool:
        """Whether they lie there as they are, so that none has to be decoded."""
        return self._plain is not None

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of item rows. (M,) -> (M, D)"""
        if self._plain is not None:
            return self._plain[rows]
        return self._index.reconstruct_batch(np.ascontiguousarray(rows))

    def after(self, start: int, count: int) -> np.ndarray:
        """So many vectors from one row on, or as many as there are; not for writing. (M, D)"""
        if self._plain is not None:
            return self._plain[start : start + count]
        return self._index.reconstruct_n(start, min(count, self._index.ntotal - start))

    def blocks(self, among: RowSet | None, size: int = BLOCK) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some rows at a time, ascending, with their vectors: all, or those of a set. (n,), (n, D)"""
        for start in range(0, self._index.ntotal if among is None else len(among), size):
            if among is None:
                vectors = self.after(start, size)
                yield np.arange(start, start + len(vectors)), vectors
            else:
                rows = among.rows[start : start + size]
                yield rows, self.of(rows)

    def nearest(self, queries: np.ndarray, k: int, among: RowSet | None) -> np.ndarray:
        """The items with the largest inner products in float32: candidates, which are to be settled.

        A product of matrices for some items at a time, of which only those are looked at that reach the k-th best of
        what was compared before: soon these are very few.

        Args:
            queries: (B, D) float32
            k: How many; there are as many.
            among: The rows that are compared; all where not given.

        Returns:
            Item rows, best first; of equals, any. (B, k) int64
        """
        parts = [self._nearest(queries[one : one + _TOGETHER], k, among) for one in range(0, len(queries), _TOGETHER)]
        return np.concatenate(parts) if parts else np.empty((0, k), np.int64)

    def _nearest(self, queries: np.ndarray, k: int, among: RowSet | None) -> np.ndarray:
        """As `nearest`, for as many queries as are compared at a time."""
        asked = torch.from_numpy(np.ascontiguousarray(queries))  # (b, D)
        best: tuple[Tensor, Tensor] | None = None  # scores and rows, (b, k) each
        for rows, vectors in self.blocks(among, max(BLOCK // 2, 4 * k)):
            scores, places = asked @ torch.from_numpy(vectors).T, torch.from_numpy(rows)  # (b, n), (n,)
            if best is not None:
                # NumPy's `any` over rows takes a third of torch's time
                reach = torch.from_numpy(np.flatnonzero((scores.numpy() >= best[0][:, -1:].numpy()).any(axis=0)))
                scores, places = scores[:, reach], places[reach]
            places = places.expand(len(asked), -1)
            if best is not None:
                scores, places = torch.cat([best[0], scores], dim=1), torch.cat([best[1], places], dim=1)
            scores, order = scores.topk(min(k, scores.shape[1]), dim=1)
            best = scores, places.gather(1, order)
        assert best is not None  # there are k items
        return best[1].numpy()

    def within(
        self, query: np.ndarray, k: int, slack: float, skip: np.ndarray | None, among: RowSet | None
    ) -> np.ndarray:
        """All items whose inner product with a query is not more than some slack below the k-th best in float32.

        Args:
            query: (D,) float32
            k: How many; there are as many.
            slack: How far float32 may be off.
            skip: Rows that do not count, of those that are compared.
            among: The rows that are compared; all where not given.

        Returns:
            Item rows, ascending; k at least, where not more are skipped. (n,) int64
        """
        parts = [(rows, vectors @ query) for rows, vectors in self.blocks(among)]
        rows, scores = (np.concatenate(some) for some in zip(*parts, strict=True))  # (n,)
        if skip is not None:
            scores[np.searchsorted(rows, skip)] = -np.inf
        last = np.partition(scores, len(scores) - k)[len(scores) - k]
        return rows[(scores >= last - slack) & (scores > -np.inf)]
