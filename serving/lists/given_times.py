"""When the items of a request's histories came, and when the request asks: for models that read times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from features.batches import JaggedArray
from serving.lists.raw_ids import FieldError, as_list


def history_times(given: Any, histories: list[list[Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The times of given histories.

    Args:
        given: For each user a list of whole numbers, as many as the history has items; None where they are not told.
            (B,)
        histories: Raw item ids. (B lists)

    Returns:
        The times of all items, end to end, 0 where they are not told (sum of L,) int64; and of whom they are told (B,).

    Raises:
        FieldError: Times that are no whole numbers, not as many as items, or that run backwards.
    """
    rows = as_list(given, "history_times")
    if len(rows) != len(histories):
        raise FieldError(f"there are {len(histories)} histories and {len(rows)} history_times", "history_times")
    told = np.array([row is not None for row in rows], dtype=bool)
    lists = [
        [0] * len(items) if row is None else as_list(row, "history_times", n)
        for n, (row, items) in enumerate(zip(rows, histories, strict=True))
    ]
    for n, (row, items) in enumerate(zip(lists, histories, strict=True)):
        if len(row) != len(items):
            raise FieldError(
                f"history_times[{n}] has {len(row)} times for the {len(items)} items of histories[{n}]",
                "history_times",
                n,
            )
    flat = _whole(list(chain.from_iterable(lists)), "history_times")
    owner = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
    backwards = np.flatnonzero((flat[1:] < flat[:-1]) & (owner[1:] == owner[:-1]))
    if len(backwards):
        n = int(owner[backwards[0]])
        raise FieldError(f"history_times[{n}] run backwards; a history is given oldest first", "history_times", n)
    return flat, told


def asking_times(given: Any, histories: JaggedArray, timed: np.ndarray) -> np.ndarray:
    """When each user asks; at the time of the history's latest item where it is not told. (B,) int64

    Args:
        given: Whole numbers, or None, for each user; None altogether where nobody's is told. (B,)
        histories: With times. (B rows)
        timed: Whose times are told, and not only those of a history in general. (B,) bool

    Raises:
        FieldError: Times that are no whole numbers, not as many as users, or of a history whose own times
            are not told.
    """
    latest = np.zeros(len(histories), np.int64)
    some = histories.lengths > 0
    assert histories.times is not None
    latest[some] = histories.times[histories.offsets[1:][some] - 1]
    if given is None:
        return latest
    asked = as_list(given, "asked_at")
    if len(asked) != len(histories):
        raise FieldError(f"there are {len(histories)} users and {len(asked)} times of asked_at", "asked_at")
    told = np.array([one is not None for one in asked], dtype=bool)
    times = _whole([0 if one is None else one for one in asked], "asked_at")
    for n in np.flatnonzero(told & some & ~timed)[:1].tolist():
        raise FieldError(f"asked_at[{n}] says nothing without the history_times of histories[{n}]", "asked_at", n)
    return np.where(told, times, latest)


def _whole(times: Sequence[Any], field: str) -> np.ndarray:
    """(n,) int64"""
    wrong = [one for one in times if type(one) is not int or not -(2**63) <= one < 2**63]
    if wrong:
        raise FieldError(f"{field} holds {str(wrong[0])[:30]}, which is no whole number of 64 bits", field)
    return np.array(times, dtype=np.int64)
