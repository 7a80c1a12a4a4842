"""From which log-odds on a pair counts as the same: for the best F1, or for a precision that is wanted.

A threshold is chosen on validation pairs, kept, and never chosen again on the pairs that are predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from features.errors import InputError


@dataclass(frozen=True)
class Decision:
    """What a threshold does to labelled pairs.

    Args:
        threshold: A pair is the same whose score is at least this.
        precision: Share of those that are, of what is called the same; 1 where nothing is.
        recall: Share that is found, of what is the same.
        f1: The harmonic mean of both.
        called: How many pairs are called the same: what the precision rests on.
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    called: int

    @property
    def least_precision(self) -> float:
        """What so many pairs show of the precision, with a confidence of 95% (Clopper and Pearson, Biometrika 1934)."""
        right = round(self.precision * self.called)
        return float(beta.ppf(0.05, right, self.called - right + 1)) if right else 0.0


def decide(scores: np.ndarray, labels: np.ndarray, threshold: float) -> Decision:
    """What a threshold does. (n,), (n,) bool

    Example:
        >>> decide(np.array([3.0, 1, -1]), np.array([True, False, True]), 0.0)
        Decision(threshold=0.0, precision=0.5, recall=0.5, f1=0.5, called=2)
    """
    called, labels = np.asarray(scores) >= threshold, np.asarray(labels, bool)
    right, same = int((called & labels).sum()), int(labels.sum())
    precision = right / int(called.sum()) if called.any() else 1.0
    recall = right / same if same else 0.0
    f1 = 2 * right / (int(called.sum()) + same) if same else 0.0
    return Decision(float(threshold), precision, recall, f1, int(called.sum()))


def best_f1(scores: np.ndarray, labels: np.ndarray) -> Decision:
    """The threshold of the highest F1 on these pairs; of several, the highest.

    It lies in the middle between two scores, or at even odds where these lie between them.

    Args:
        scores: Log-odds. (n,)
        labels: (n,) bool

    Raises:
        InputError: None of the pairs is the same.
    """
    found = _curve(scores, labels)
    return decide(scores, labels, found.thresholds[np.argmax(found.f1)])


def for_precision(scores: np.ndarray, labels: np.ndarray, wanted: float) -> Decision | None:
    """The threshold that finds most of the pairs with a precision of at least so much; None where none does.

    Args:
        scores: (n,)
        labels: (n,) bool
        wanted: In (0, 1].

    Raises:
        InputError: Such a precision cannot be, or none of the pairs is the same.
    """
    if not 0 < wanted <= 1:
        raise InputError(f"a precision is above 0 and at most 1, got {wanted}")
    found = _curve(scores, labels)
    enough = np.flatnonzero(found.precision >= wanted)
    if not len(enough):
        return None
    return decide(scores, labels, found.thresholds[enough[np.argmax(found.recall[enough])]])


@dataclass(frozen=True)
class _Curve:
    """What each threshold does that tells two scores apart, the highest first."""

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def _curve(scores: np.ndarray, labels: np.ndarray) -> _Curve:
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, bool)
    same = int(labels.sum())
    if not same:
        raise InputError(f"a threshold is chosen by pairs that are the same, and none of the {len(labels):,} is")
    order = np.argsort(-scores, kind="stable")
    ordered, right = scores[order], np.cumsum(labels[order])
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each run of equal scores
    called, right = last + 1, right[last]
    highest, below = ordered[last], np.append(ordered[last[:-1] + 1], ordered[-1])  # under the lowest there is none
    middle = (highest + below) / 2
    middle = np.where(middle > below, middle, highest)  # between two neighbours there is no number
    middle[(below < 0) & (highest >= 0)] = 0.0  # where even odds tell the same pairs apart, nothing speaks for others
    return _Curve(middle, right / called, right / same, 2 * right / (called + same))
