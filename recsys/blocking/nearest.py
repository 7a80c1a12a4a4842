"""The nearest records of each record, by sparse vectors, in time that grows with the records and not with their pairs.

A term that half of all records have says nearly nothing, and costs most: each record is searched by its rarest terms,
as many as a budget of look-ups allows, and what that finds is compared in full.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.blocking.terms import paired, parts

#: numbers of a product that are held at a time
_HELD = 1 << 24
#: terms that are sorted at a time
_SORTED = 1 << 22
#: how many more are found by the rarest terms than are wanted, since all terms may order them otherwise
_WIDER = 2


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest records of each of n records, best first.

    Args:
        rows: -1 where there are no more. (n, k) int64
        scores: (n, k) float32
    """

    rows: np.ndarray
    scores: np.ndarray


class TermIndex:
    """Records by their terms, to be searched by other records.

    Args:
        vectors: Weights of at least 0: see `recsys.blocking.terms.TermSpace.vectors`. (m, terms)
        lookups: So many records are read for each that asks, at the most, by its rarest terms; those that have one of
            its three rarest always are.
    """

    def __init__(self, vectors: sparse.csr_matrix, lookups: int = 20_000) -> None:
        self._vectors, self._lookups = vectors, lookups
        self._columns = vectors.T.tocsr()
        self._holders = np.diff(self._columns.indptr)

    def nearest(self, asking: sparse.csr_matrix, k: int, itself: bool = True) -> Neighbours:
        """The records of the largest inner products, of those that share a term.

        Args:
            asking: (n, terms)
            k: How many.
            itself: Whether a row may find the row of the same number, which of one table is itself.

        Returns:
            (n, k); of equal scores the first rows.
        """
        rare = _rarest(asking, self._holders, self._lookups)
        cut = rare.nnz < asking.nnz
        rows = np.full((asking.shape[0], k), -1, np.int64)
        scores = np.zeros((asking.shape[0], k), np.float32)
        for start, end in parts(np.asarray(rare.astype(bool) @ self._holders).ravel(), _HELD):
            found = (rare[start:end] @ self._columns).tocsr()
            if not itself:
                found.data[found.indices == start + np.repeat(np.arange(end - start), np.diff(found.indptr))] = 0
            best = _best(found, k * _WIDER if cut else k)
            if cut:
                some, _ = there = np.nonzero(best.rows >= 0)
                again = np.zeros_like(best.scores)
                again[there] = paired(asking, self._vectors, (some + start, best.rows[there]))
                best = _ordered(best.rows, again, k)
            rows[start:end], scores[start:end] = best.rows, best.scores
        return Neighbours(rows, scores)


def _rarest(matrix: sparse.csr_matrix, holders: np.ndarray, lookups: int) -> sparse.csr_matrix:
    """Each row with its rarest terms alone."""
    kept, counts = np.zeros(matrix.nnz, bool), np.zeros(matrix.shape[0], np.int64)
    for start, end in parts(np.diff(matrix.indptr), _SORTED):
        first, last = matrix.indptr[start], matrix.indptr[end]
        offsets = matrix.indptr[start : end + 1].astype(np.int64) - first
        kept[first:last] = _rare(holders[matrix.indices[first:last]], offsets, lookups)
        counts[start:end] = np.diff(np.concatenate([[0], np.cumsum(kept[first:last])])[offsets])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], offsets), shape=matrix.shape)


def _rare(cost: np.ndarray, offsets: np.ndarray, lookups: int) -> np.ndarray:
    """Which terms of some rows are their rarest ones. (terms,), (rows + 1,) -> (terms,) bool"""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((cost, row))
    total = np.cumsum(cost[order])
    first = offsets[:-1][row]  # sorted by rows first, a row's terms stay where its terms were
    before = np.concatenate([[0], total])[first]
    kept = np.zeros(len(order), bool)
    kept[order] = (total - before <= lookups) | (np.arange(len(order)) - first < 3)
    return kept


def _best(found: sparse.csr_matrix, k: int) -> Neighbours:
    """The k largest of each row; what is 0 is none."""
    n = found.shape[0]
    rows, scores = np.full((n, k), -1, np.int64), np.zeros((n, k), np.float32)
    for row, (start, end) in enumerate(zip(found.indptr, found.indptr[1:], strict=False)):
        values, columns = found.data[start:end], found.indices[start:end]
        if len(values) > k:
            # of those that are as good as the last, the first rows
            last = np.partition(values, len(values) - k)[len(values) - k]
            keep = np.flatnonzero(values >= last)
            values, columns = values[keep], columns[keep]
        order = np.lexsort((columns, -values))[:k]
        order = order[values[order] > 0]
        rows[row, : len(order)], scores[row, : len(order)] = columns[order], values[order]
    return Neighbours(rows, scores)


def _ordered(rows: np.ndarray, scores: np.ndarray, k: int) -> Neighbours:
    """The k best of each row of candidates, of equal scores the first rows."""
    order = np.lexsort((rows, np.where(rows >= 0, -scores, np.inf)), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1))
