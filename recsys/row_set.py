"""Some of a catalogue's items, such as those that a request lets through."""

from __future__ import annotations

from functools import cached_property

import numpy as np


class RowSet:
    """Rows out of 0 to N - 1, listed or marked, as whoever asks needs them; never changed.

    Args:
        marks: Which rows there are. (N,) bool

    Example:
        >>> some = RowSet(np.array([False, True, True]))
        >>> len(some), some.rows.tolist(), some.holds(np.array([0, 2])).tolist()
        (2, [1, 2], [False, True])
    """

    def __init__(self, marks: np.ndarray) -> None:
        self.size = len(marks)
        self.marks = marks
        self._parts: dict[tuple[int, int], RowSet] = {}

    @classmethod
    def of_rows(cls, rows: np.ndarray, size: int) -> RowSet:
        """Those rows, in any order and any number of times. (n,)"""
        marks = np.zeros(size, dtype=bool)
        marks[rows] = True
        return cls(marks)

    @cached_property
    def _count(self) -> int:
        return int(np.count_nonzero(self.marks))

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"RowSet({len(self):,} of {self.size:,} rows)"

    @cached_property
    def rows(self) -> np.ndarray:
        """Ascending. (n,) int64"""
        return np.flatnonzero(self.marks)

    @cached_property
    def bits(self) -> np.ndarray:
        """A bit a row, as FAISS reads them. (N / 8,) uint8"""
        return np.packbits(self.marks, bitorder="little")

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """Which of some rows are among these. (n,) -> (n,) bool"""
        return self.marks[rows]

    def part(self, start: int, stop: int) -> RowSet:
        """Those from one row to before another, counted from the first of them."""
        if (start, stop) == (0, self.size):
            return self
        if (start, stop) not in self._parts:  # a request's searches all want the same parts
            self._parts[start, stop] = RowSet(self.marks[start:stop])
        return self._parts[start, stop]
