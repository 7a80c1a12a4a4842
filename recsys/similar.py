"""Items like an item: those whose vectors point most nearly the same way."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from recsys.rescoring import best_of, inner_products
from recsys.row_set import RowSet
from recsys.top_k import Chunks, Scorer, full_ranking

#: a block of scores in float64 is 32 MB
_CHUNKS = Chunks(users=256, items=16_384)
#: how many more than asked for are scored again, so that last-bit differences cannot decide who is in
_MARGIN = 16
#: lengths of vectors whose products float32 holds to the last bits
_PLAIN = (1e-30, 1e30)


class StoredItems(Protocol):
    """What is read of the vectors of N items: see `ItemIndex`."""

    @property
    def dim(self) -> int:
        """D"""
        ...

    def __len__(self) -> int: ...

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """(n,) -> (n, D)"""
        ...

    def stored(self, start: int, count: int) -> np.ndarray:
        """From one row on. (n, D)"""
        ...


class Neighbours:
    """Finds the items with the highest cosine to an item. Safe to share between threads.

    All vectors are read, some at a time, whatever the kind of index: the answer is exact over what the index stores.
    Candidates are found in float32, and settled by sums that are made in float64 and rounded, so that an answer does
    not change with what else is asked, and that items of one vector tie, in the order of their rows. A vector of zeros
    points nowhere: it is similar to nothing.

    Args:
        index: The catalogue's vectors. (N, D)
        width: How many of the first columns count, such as all but an item bias; all where not given.

    Example:
        >>> from recsys.index import ItemIndex
        >>> index = ItemIndex.build(np.array([[1, 0], [0, 5], [3, 4], [9, 1]], dtype=np.float32))
        >>> Neighbours(index).of(np.array([0]), k=2)[1].tolist()
        [[3, 2]]
    """

    def __init__(self, index: StoredItems, width: int | None = None) -> None:
        self._index = index
        self._width = index.dim if width is None else width

    @cached_property
    def _lengths(self) -> Tensor:
        """Of all vectors, worked out once. (N,) float64"""
        step = _CHUNKS.items
        parts = (self._stored(slice(at, at + step), None).double() for at in range(0, len(self._index), step))
        return torch.cat([torch.linalg.vector_norm(part, dim=1) for part in parts])

    @cached_property
    def _plain(self) -> bool:
        """Whether float32 can tell candidates at all."""
        some = self._lengths[self._lengths > 0]
        return not len(some) or bool(_PLAIN[0] < some.min() and some.max() < _PLAIN[1])

    def of(self, rows: np.ndarray, k: int, among: RowSet | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k items most like each of some items, the item itself left out.

        Args:
            rows: Item rows. (B,)
            k: How many; may be more than there are.
            among: The only item rows that any answer may hold; all where not given. (of N rows)

        Returns:
            Cosines (B, K) float32 and item rows (B, K) int64, best first; -inf and -1 where no item is left.
        """
        there = len(self._index) if among is None else len(among)
        if not there:
            return np.full((len(rows), k), -np.inf, np.float32), np.full((len(rows), k), -1, np.int64)
        if not self._plain:
            return self._settled(rows, k, among)
        fetch = min(k + _MARGIN, there)
        bounds, near = self._ranked(rows, fetch, among, torch.float32)
        scores, found = best_of(self._exactly(rows, near), near, k)
        if fetch < there and len(rows):
            # float32 is off by so much at most, so that an item which is no candidate may be nearer than the last one
            slack = (self._width + 8) * 2.0**-23
            again = np.flatnonzero(scores[:, min(k, fetch) - 1] <= bounds[:, -1] + slack)
            if len(again):
                scores[again], found[again] = self._settled(rows[again], k, among)
        return scores, found

    def _settled(self, rows: np.ndarray, k: int, among: RowSet | None) -> tuple[np.ndarray, np.ndarray]:
        """As `of`, with all cosines in float64: for ties across the margin. (B,) -> (B, K) twice"""
        return self._ranked(rows, k, among, torch.float64)

    def _ranked(
        self, rows: np.ndarray, k: int, among: RowSet | None, dtype: torch.dtype
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `of`, by cosines that are summed in some precision. (B,) -> (B, K) twice"""
        there = len(self._index) if among is None else len(among)
        ranking = full_ranking(self._cosines(rows, among, dtype), len(rows), there, k, chunks=_CHUNKS)
        scores, found = ranking.scores.numpy(), ranking.rows.numpy()
        return scores, found if among is None else np.where(found >= 0, among.rows[found], -1)

    def _cosines(self, rows: np.ndarray, among: RowSet | None, dtype: torch.dtype) -> Scorer:
        """Scores of items for some items, -inf for the item itself and where either points nowhere.

        Of a set of items, a slice of its rows is scored.
        """
        queries, sizes = self._units(rows).to(dtype), self._lengths.to(dtype)
        places = rows
        if among is not None:
            places = np.where(among.holds(rows), np.searchsorted(among.rows, rows), -1)
            sizes = sizes[torch.from_numpy(among.rows)]

        def cosines(asked: slice, items: slice) -> Tensor:
            block = queries[asked] @ self._stored(items, among).to(dtype).T  # (b, n)
            block /= sizes[items]
            itself = torch.from_numpy(places[asked]) - items.start  # (b,)
            here = ((itself >= 0) & (itself < block.shape[1])).nonzero()[:, 0]
            block[here, itself[here]] = -torch.inf
            return block.float().nan_to_num_(nan=-torch.inf, neginf=-torch.inf)

        return cosines

    def _exactly(self, rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Cosines of items with their candidates, -1 for none, summed in float64. (B,), (B, C) -> (B, C) float32"""
        lengths = self._lengths.numpy()

        def units(chosen: np.ndarray) -> np.ndarray:
            return self._index.vectors_of(chosen)[:, : self._width].astype(np.float64) / lengths[chosen][:, None]

        return inner_products(units, self._units(rows).numpy(), candidates)

    def _units(self, rows: np.ndarray) -> Tensor:
        """The vectors of items, of length 1; nan for those that point nowhere. (B, D) float64"""
        sizes = self._lengths[torch.from_numpy(rows)]
        wide = torch.from_numpy(self._index.vectors_of(rows)[:, : self._width].astype(np.float64))
        return wide / torch.where(sizes > 0, sizes, torch.nan)[:, None]

    def _stored(self, items: slice, among: RowSet | None) -> Tensor:
        """Vectors as the index has them; of a set, those of a slice of its rows. (n, D)"""
        if among is None:
            vectors = self._index.stored(items.start, items.stop - items.start)
        else:
            vectors = self._index.vectors_of(among.rows[items])
        return torch.from_numpy(vectors[:, : self._width])
