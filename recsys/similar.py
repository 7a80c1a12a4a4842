"""Items like an item: those whose vectors point most nearly the same way."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recsys.index import ItemIndex
from recsys.rescoring import best_of, inner_products
from recsys.top_k import Chunks, Scorer, full_ranking

#: a block of scores in float64 is 32 MB
_CHUNKS = Chunks(users=256, items=16_384)
#: how many more than asked for are scored again, so that last-bit differences cannot decide who is in
_MARGIN = 16
#: lengths of vectors whose products float32 holds to the last bits
_PLAIN = (1e-30, 1e30)


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
        >>> index = ItemIndex.build(np.array([[1, 0], [0, 5], [3, 4], [9, 1]], dtype=np.float32))
        >>> Neighbours(index).of(np.array([0]), k=2)[1].tolist()
        [[3, 2]]
    """

    def __init__(self, index: ItemIndex, width: int | None = None) -> None:
        self._index = index
        self._width = index.dim if width is None else width

    @cached_property
    def _lengths(self) -> Tensor:
        """Of all vectors, worked out once. (N,) float64"""
        step = _CHUNKS.items
        parts = (self._stored(slice(at, at + step)).double() for at in range(0, len(self._index), step))
        return torch.cat([torch.linalg.vector_norm(part, dim=1) for part in parts])

    @cached_property
    def _plain(self) -> bool:
        """Whether float32 can tell candidates at all."""
        some = self._lengths[self._lengths > 0]
        return not len(some) or bool(_PLAIN[0] < some.min() and some.max() < _PLAIN[1])

    def of(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k items most like each of some items, the item itself left out.

        Args:
            rows: Item rows. (B,)
            k: How many; may be more than there are.

        Returns:
            Cosines (B, K) float32 and item rows (B, K) int64, best first; -inf and -1 where no item is left.
        """
        if not self._plain:
            return self._settled(rows, k)
        fetch = min(k + _MARGIN, len(self._index))
        near = full_ranking(self._cosines(rows, torch.float32), len(rows), len(self._index), fetch, chunks=_CHUNKS)
        scores, found = best_of(self._exactly(rows, near.rows.numpy()), near.rows.numpy(), k)
        if fetch < len(self._index) and len(rows):
            # float32 is off by so much at most, so that an item which is no candidate may be nearer than the last one
            slack = (self._width + 8) * 2.0**-23
            again = np.flatnonzero(scores[:, min(k, fetch) - 1] <= near.scores.numpy()[:, -1] + slack)
            if len(again):
                scores[again], found[again] = self._settled(rows[again], k)
        return scores, found

    def _settled(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `of`, with all cosines in float64: for ties across the margin. (B,) -> (B, K) twice"""
        ranking = full_ranking(self._cosines(rows, torch.float64), len(rows), len(self._index), k, chunks=_CHUNKS)
        return ranking.scores.numpy(), ranking.rows.numpy()

    def _cosines(self, rows: np.ndarray, dtype: torch.dtype) -> Scorer:
        """Scores of items for some items, -inf for the item itself and where either points nowhere."""
        queries, sizes = self._units(rows).to(dtype), self._lengths.to(dtype)

        def cosines(asked: slice, items: slice) -> Tensor:
            block = queries[asked] @ self._stored(items).to(dtype).T  # (b, n)
            block /= sizes[items]
            itself = torch.from_numpy(rows[asked]) - items.start  # (b,)
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

    def _stored(self, items: slice) -> Tensor:
        """Vectors as the index has them. (n, D)"""
        return torch.from_numpy(self._index.stored(items.start, items.stop - items.start)[:, : self._width])
