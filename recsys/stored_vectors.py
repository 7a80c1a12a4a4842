"""The vectors inside an index, read back, and compared one by one where that is better than asking the index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch  # noqa: F401  before faiss: see index_kinds

import faiss  # isort: skip

from recsys.row_set import RowSet

#: vectors that are decoded or compared at a time: a few megabytes, which stay in the cache
BLOCK = 1 << 14


class StoredVectors:
    """What an index stores of N items.

    Args:
        index: Decodes vectors, if need be.
        plain: The vectors, where they lie there as they are. (N, D) float32
    """

    def __init__(self, index: Any, plain: np.ndarray | None) -> None:
        self._index, self._plain = index, plain

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

        Args:
            queries: (B, D) float32
            k: How many; there are as many.
            among: The rows that are compared; all where not given.

        Returns:
            Item rows, best first; of equals, any. (B, k) int64
        """
        found, scores = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
        for rows, vectors in self.blocks(among, max(BLOCK, 4 * k)):
            more, places = faiss.knn(queries, vectors, min(k, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
            found, scores = np.hstack([found, rows[places]]), np.hstack([scores, more])
            if found.shape[1] > more.shape[1]:
                order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
                found, scores = np.take_along_axis(found, order, 1), np.take_along_axis(scores, order, 1)
        return found

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
