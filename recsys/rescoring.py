"""Settles what an index found: scores that do not depend on the batch, ties by row, unwanted items left out.

A float32 sum differs in its last bits with the order of its terms, and fast kernels choose that order by the size of
the batch. Scores are therefore summed again in float64 and rounded once, for the few candidates that matter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features.batches import JaggedArray

#: numbers that one step may hold at a time
CHUNK = 1 << 22

#: so many items, and each query can have a mark for every one
_FEW = 1 << 15


def inner_products(vectors_of: Callable[[np.ndarray], np.ndarray], queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Inner products of each query with its own candidates, summed in float64 and rounded to float32.

    Args:
        vectors_of: Gives the vectors of item rows: (M,) -> (M, D).
        queries: (B, D)
        rows: Item rows, -1 for none. (B, C)

    Returns:
        -inf where there is no candidate. (B, C) float32
    """
    dim = queries.shape[1]
    scores = np.empty(rows.shape, dtype=np.float32)
    wide = queries.astype(np.float64)[:, :, None]  # (B, D, 1)
    columns = max(1, min(rows.shape[1], CHUNK // dim))
    step = max(1, CHUNK // (columns * dim))
    for first in range(0, rows.shape[1], columns):
        for start in range(0, len(rows), step):
            part = (slice(start, start + step), slice(first, first + columns))
            chosen = rows[part]
            vectors = vectors_of(np.maximum(chosen, 0).ravel()).astype(np.float64)
            scores[part] = np.matmul(vectors.reshape(*chosen.shape, dim), wide[part[0]])[:, :, 0]
    scores[rows < 0] = -np.inf
    return scores


def best_of(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best candidates: larger scores first, of equal ones the smaller row. (B, C) -> (B, k) twice.

    Example:
        >>> best_of(np.array([[0.5, 0.7, 0.5]]), np.array([[9, 4, 2]]), k=2)[1].tolist()
        [[4, 2]]
    """
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    missing = k - scores.shape[1]
    if missing <= 0:
        return scores, rows
    none = (len(rows), missing)
    return np.hstack([scores, np.full(none, -np.inf, scores.dtype)]), np.hstack([rows, np.full(none, -1, rows.dtype)])


def without(found: np.ndarray, skip: JaggedArray | None) -> np.ndarray:
    """Moves what is to be skipped out of each row, keeping the order of the rest; -1 fills up. (B, C) -> (B, C).

    Example:
        >>> without(np.array([[3, 1, 2]]), JaggedArray(np.array([3, 8]), np.array([0, 2]))).tolist()
        [[1, 2, -1]]
    """
    if skip is None:
        return found
    items = max(int(found.max(initial=0)), int(skip.values.max(initial=0))) + 1
    unwanted = _marked(found, skip, items) if items <= _FEW else _looked_up(found, skip, items)
    rows, columns = np.nonzero((found >= 0) & ~unwanted)
    keep = np.bincount(rows, minlength=len(found))
    places = np.arange(len(rows)) - np.repeat(np.cumsum(keep) - keep, keep)
    kept = np.full_like(found, -1)
    kept[rows, places] = found[rows, columns]
    return kept


def _marked(found: np.ndarray, skip: JaggedArray, items: int) -> np.ndarray:
    """Which candidates are to be skipped, by a mark for each of few items. (B, C) bool"""
    out = np.empty(found.shape, dtype=bool)
    step = max(1, (CHUNK << 4) // items)
    for start in range(0, len(found), step):
        stop = min(start + step, len(found))
        unwanted = np.zeros((stop - start, items), dtype=bool)
        row_of = np.repeat(np.arange(stop - start), skip.lengths[start:stop])
        unwanted[row_of, skip.values[skip.offsets[start] : skip.offsets[stop]]] = True
        out[start:stop] = np.take_along_axis(unwanted, np.maximum(found[start:stop], 0), axis=1)
    return out


def _looked_up(found: np.ndarray, skip: JaggedArray, items: int) -> np.ndarray:
    """The same for many items: marks would each be on a page of memory of its own. (B, C) bool"""
    rows = np.repeat(np.arange(len(skip)), skip.lengths)
    keys = np.sort(rows * items + skip.values[skip.offsets[0] : skip.offsets[-1]])
    if not len(keys):
        return np.zeros(found.shape, dtype=bool)
    asked = np.arange(len(found))[:, None] * items + found
    return keys[np.searchsorted(keys, asked).clip(max=len(keys) - 1)] == asked


def by_size(lengths: np.ndarray) -> list[np.ndarray]:
    """Groups rows whose lengths lie between the same powers of two, so that one long row does not widen all.

    Example:
        >>> [group.tolist() for group in by_size(np.array([3, 0, 2, 90]))]
        [[1], [0, 2], [3]]
    """
    groups = np.frexp(lengths)[1]
    if len(groups) == 1:
        return [np.zeros(1, np.int64)]
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


def rows_of(jagged: JaggedArray | None, rows: np.ndarray) -> JaggedArray | None:
    """The given rows; all of them in order, without a copy, where there are as many. (B rows) -> (len(rows) rows)."""
    if jagged is None or len(rows) == len(jagged):
        return jagged
    positions, lengths = jagged.positions(rows)
    return JaggedArray(jagged.values[positions], np.concatenate([[0], np.cumsum(lengths)]))
