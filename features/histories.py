"""Each user's items in the order they came: jagged, without padding."""

from __future__ import annotations

import numpy as np

from features.batches import JaggedArray

_CHUNK = 1 << 16


def histories(
    user_rows: np.ndarray,
    item_rows: np.ndarray,
    timestamps: np.ndarray,
    n_users: int,
    chosen: np.ndarray | None = None,
    timed: bool = False,
) -> JaggedArray:
    """Each user's items, oldest first; items of the same time in the order they are given.

    Args:
        user_rows: In [0, n_users). (n,) int64
        item_rows: (n,) int64
        timestamps: (n,) int64
        n_users: How many users there are, those without an interaction included.
        chosen: Which interactions count, such as one part of a split; takes less memory than choosing before. (n,) bool
        timed: Give the times as well.

    Returns:
        U rows; an item that a user met twice is there twice.

    Example:
        >>> made = histories(np.array([1, 0, 1]), np.array([7, 8, 9]), np.array([20, 5, 10]), 3)
        >>> [made.row(user).tolist() for user in range(3)]
        [[8], [9, 7], []]
    """
    offsets = np.zeros(n_users + 1, dtype=np.int64)
    if chosen is None:
        np.cumsum(np.bincount(user_rows, minlength=n_users), out=offsets[1:])
        order = chronological(user_rows, timestamps)
        return JaggedArray(item_rows[order], offsets, timestamps[order] if timed else None)
    users = user_rows[chosen]
    np.cumsum(np.bincount(users, minlength=n_users), out=offsets[1:])
    order = _chronological(users, timestamps[chosen])  # both are ours to overwrite
    del users
    return JaggedArray(item_rows[chosen][order], offsets, timestamps[chosen][order] if timed else None)


def chronological(user_rows: np.ndarray, timestamps: np.ndarray) -> np.ndarray:
    """The positions of all interactions, in the order (user, time, position).

    Two sorts of plain integers with the position packed into the low bits. That makes all keys distinct, so the fast
    unstable sort is stable: a fifth of the time of a stable `argsort`, and no second array to sort along.

    Args:
        user_rows: (n,) int64
        timestamps: (n,) int64

    Returns:
        (n,) int64
    """
    return _chronological(user_rows.copy(), timestamps.copy())


def from_the_first(user_rows: np.ndarray, timestamps: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Whether each interaction is its user's first target or comes after it, in the order of `chronological`.

    Args:
        user_rows: (n,) int64
        timestamps: (n,) int64
        targets: Which interactions are targets. (n,) bool

    Returns:
        (n,) bool

    Example:
        >>> from_the_first(np.array([0, 0, 1, 0]), np.array([3, 1, 0, 2]), np.array([False, False, False, True]))
        array([ True, False, False,  True])
    """
    order = chronological(user_rows, timestamps)
    users, met = user_rows[order], np.cumsum(targets[order])  # (n,), targets until there
    begins = np.flatnonzero(np.diff(users, prepend=-1))  # of each user
    before = np.repeat(met[begins] - targets[order[begins]], np.diff(begins, append=len(users)))
    after = np.empty(len(users), dtype=bool)
    after[order] = met > before
    return after


def _chronological(user_rows: np.ndarray, timestamps: np.ndarray) -> np.ndarray:
    """As `chronological`, and both arguments may be overwritten."""
    if (timestamps[1:] >= timestamps[:-1]).all():  # most logs are written as things happen
        del timestamps
        return _stable_order(user_rows)
    by_time = _stable_order(timestamps)
    order = _stable_order(user_rows[by_time])
    return np.take(by_time, order, out=order)


def _stable_order(keys: np.ndarray) -> np.ndarray:
    """As `np.argsort(keys, kind="stable")`, in place: the keys are overwritten, which spares 8 bytes a row. (n,)"""
    n = len(keys)
    if not n:
        return keys
    bits = int(n - 1).bit_length()
    low, high = int(keys.min()), int(keys.max())
    if (high - low).bit_length() + bits > 63:  # microseconds of many years and many millions of rows
        return np.argsort(keys, kind="stable")
    keys -= low
    keys <<= bits
    for start in range(0, n, _CHUNK):
        keys[start : start + _CHUNK] |= np.arange(start, min(start + _CHUNK, n))
    keys.sort()
    keys &= (1 << bits) - 1
    return keys
