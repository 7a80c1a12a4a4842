"""From 64-bit keys to positions, for millions of keys at once and without a Python loop over them."""

from __future__ import annotations

import numpy as np

_CHUNK = 1 << 18  # a few arrays of this size stay in a processor's cache
_MIX = np.uint64(0x9FB21C651E98DF25)


class IdIndex:
    """Where each of n distinct keys stands.

    Keys that lie close together (rows of a database, say) get a direct table; others an open-addressing hash table
    whose probes run over whole arrays, several times as fast as a binary search among 200,000 keys.

    Args:
        keys: Distinct. (n,) int64

    Example:
        >>> IdIndex(np.array([70, -5, 2**62])).positions(np.array([2**62, 70, 71])).tolist()
        [2, 0, -1]
    """

    def __init__(self, keys: np.ndarray) -> None:
        self._keys = keys
        n = len(keys)
        self._low, self._high = (int(keys.min()), int(keys.max())) if n else (0, -1)
        self._dense = self._high - self._low < 4 * n + 1024
        if self._dense:
            self._table = np.full(max(self._high - self._low + 1, 1), -1, dtype=np.int64)
            self._table[keys - self._low] = np.arange(n)
        else:
            self._bits = max(int(2 * n - 1).bit_length(), 4)
            self._table = np.full(1 << self._bits, -1, dtype=np.int64)
            self._insert()

    def positions(self, queries: np.ndarray) -> np.ndarray:
        """The position of each query among the keys, -1 where it is none of them. (m,) int64 -> (m,) int64"""
        found = np.empty(len(queries), dtype=np.int64)
        look_up = self._direct if self._dense else self._probe
        for start in range(0, len(queries), _CHUNK):
            look_up(queries[start : start + _CHUNK], found[start : start + _CHUNK])
        return found

    def _direct(self, queries: np.ndarray, found: np.ndarray) -> None:
        inside = (queries >= self._low) & (queries <= self._high)
        if inside.all():
            np.take(self._table, queries - self._low, out=found)
            return
        # compared before subtracting: the difference of two far integers wraps around
        np.take(self._table, np.where(inside, queries - self._low, 0), out=found)
        found[~inside] = -1

    def _slots(self, keys: np.ndarray) -> np.ndarray:
        mixed = keys.view(np.uint64) ^ (keys.view(np.uint64) >> np.uint64(32))
        mixed *= _MIX
        mixed ^= mixed >> np.uint64(32)
        mixed *= _MIX
        return (mixed >> np.uint64(64 - self._bits)).view(np.int64)

    def _insert(self) -> None:
        """All keys try their slot at once; whoever lost goes on to the next one."""
        pending = np.arange(len(self._keys))
        slots = self._slots(self._keys)
        while len(pending):
            free = self._table[slots] < 0
            self._table[slots[free]] = pending[free]  # of several, the last one stays
            lost = self._table[slots] != pending
            pending, slots = pending[lost], (slots[lost] + 1) & (len(self._table) - 1)

    def _probe(self, queries: np.ndarray, found: np.ndarray) -> None:
        slots = self._slots(np.ascontiguousarray(queries))
        at = self._table[slots]
        found[:] = at
        # an empty slot (-1) ends the search; another key sends it on to the next slot
        going = np.flatnonzero((at >= 0) & (self._keys[at] != queries))
        slots = slots[going]
        while len(going):
            slots = (slots + 1) & (len(self._table) - 1)
            at = self._table[slots]
            found[going] = at
            on = (at >= 0) & (self._keys[at] != queries[going])
            going, slots = going[on], slots[on]
