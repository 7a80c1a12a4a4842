"""What is answered where nothing is known of somebody: the items that training saw most often."""

from __future__ import annotations

import numpy as np

from recsys.row_set import RowSet


class Popular:
    """Items by how often they occur; of equals, the one with the smaller row comes first.

    Args:
        counts: How often training has seen each item. (N,) int64
        order: The items to answer with, the most popular first; all where not given. (n,)
    """

    def __init__(self, counts: np.ndarray, order: np.ndarray | None = None) -> None:
        self._counts = counts
        self._order = np.argsort(-counts, kind="stable") if order is None else order

    def only(self, among: RowSet) -> Popular:
        """The same of some of the items. (of N rows)"""
        if len(among) * 16 < among.size:  # to sort a few is less than to look at all
            order = among.rows[np.argsort(-self._counts[among.rows], kind="stable")]
        else:
            order = self._order[among.holds(self._order)]
        return Popular(self._counts, order)

    def best(self, k: int, seen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k most popular item rows that are not among the seen ones, and their counts as float32. (k,) each"""
        if seen is None or not len(seen):
            rows = self._order[:k]
        else:
            first = self._order[: k + len(seen)]
            rows = first[~np.isin(first, seen)][:k]
        return rows, self._counts[rows].astype(np.float32)
