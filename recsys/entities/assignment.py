"""One to one: of two tables without duplicates, each record has one partner at the most."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from recsys.entities.clusters import components

#: pairs of a component that are assigned exactly; of more, greedily
_EXACT = 4_000_000


def one_to_one(left_rows: np.ndarray, right_rows: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Of likely pairs those that together are likeliest, where no record has two partners.

    The sum of log-odds is the largest there is (an assignment problem; Kuhn, 1955), component by component. Where a
    component is huge, which says that the threshold is too low, the likeliest pair is taken first.

    Args:
        left_rows: (m,)
        right_rows: (m,)
        log_odds: Less the threshold: only pairs above 0 are taken. (m,)

    Returns:
        Places of the pairs that stay, ascending. (k,) int64

    Example:
        >>> one_to_one(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([3.0, 2.5, 2.0])).tolist()
        [1, 2]
    """
    likely = np.flatnonzero(np.asarray(log_odds) > 0)
    if not len(likely):
        return likely
    left, right, odds = left_rows[likely], right_rows[likely], np.asarray(log_odds, np.float64)[likely]
    lefts, left = np.unique(left, return_inverse=True)
    rights, right = np.unique(right, return_inverse=True)
    label = components(len(lefts) + len(rights), left, right + len(lefts))[left]
    order = np.argsort(label, kind="stable")
    kept: list[np.ndarray] = []
    for places in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        kept.append(places[_assigned(left[places], right[places], odds[places])])
    return likely[np.sort(np.concatenate(kept))]


def _assigned(left: np.ndarray, right: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Places of the pairs of one component that stay."""
    if len(odds) == 1:
        return np.zeros(1, np.int64)
    lefts, left = np.unique(left, return_inverse=True)
    rights, right = np.unique(right, return_inverse=True)
    if len(lefts) * len(rights) > _EXACT:
        return _greedy(left, right, odds)
    worth = np.zeros((len(lefts), len(rights)))  # no pair is worth nothing
    place = np.full(worth.shape, -1)
    for n in np.argsort(odds, kind="stable"):  # of a pair that is there twice, the likelier one
        worth[left[n], right[n]], place[left[n], right[n]] = odds[n], n
    found = place[linear_sum_assignment(worth, maximize=True)]
    return found[found >= 0]


def _greedy(left: np.ndarray, right: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """The likeliest pair first."""
    free = [np.ones(int(one.max()) + 1, bool) for one in (left, right)]
    kept = []
    for n in np.lexsort((right, left, -odds)):
        if free[0][left[n]] and free[1][right[n]]:
            free[0][left[n]] = free[1][right[n]] = False
            kept.append(n)
    return np.array(kept, np.int64)
