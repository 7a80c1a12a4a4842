"""Which pairs somebody should label next, and which labels look wrong.

A pair teaches most where the matcher is least certain; but the least certain pairs resemble each other, so that of many
uncertain ones those are asked for that lie apart (Ash et al., 'Deep Batch Active Learning by Diverse, Uncertain
Gradient Lower Bounds', ICLR 2020, section 3: k-means++ over uncertainty times vector, which is what the gradient of the
last layer is, where nothing else has a say in the uncertainty).
"""

from __future__ import annotations

import numpy as np

from recsys.matching.calibration import probabilities


def most_informative(log_odds: np.ndarray, vectors: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Places of the pairs to be labelled next.

    Args:
        log_odds: Of pairs without labels. (m,)
        vectors: What the matcher makes of them. (m, H)
        n: How many are wanted; all where there are fewer.
        seed: Of the draws.

    Returns:
        Different places, the first ones first. (at most n,) int64

    Example:
        >>> vectors = np.array([[1.0, 0], [1, 0], [0, 1], [1, 1]])
        >>> most_informative(np.array([0.0, 0.1, -0.1, 9.0]), vectors, 2).tolist()
        [0, 2]
    """
    random = np.random.default_rng(seed)
    chances = probabilities(np.asarray(log_odds, np.float64))
    # the gradient with respect to the last layer, had the likelier label been right
    unsure = np.minimum(chances, 1 - chances)
    gradients = vectors.astype(np.float64) * unsure[:, None]
    chosen = np.zeros(min(n, len(unsure)), np.int64)
    if not len(chosen):
        return chosen
    chosen[0] = np.argmax(unsure)
    taken = np.zeros(len(unsure), bool)
    taken[chosen[0]] = True
    apart = (gradients**2).sum(axis=1)  # from 0 as well, where the certain ones are: they have nothing to teach
    for place in range(1, len(chosen)):
        apart = np.minimum(apart, ((gradients - gradients[chosen[place - 1]]) ** 2).sum(axis=1))
        weights = np.where(taken, 0.0, apart)
        total = weights.sum()
        if total <= 1e-12:  # the rest is where others are already: the least certain of it
            chosen[place] = np.argmax(np.where(taken, -1.0, unsure))
        else:
            chosen[place] = random.choice(len(weights), p=weights / total)
        taken[chosen[place]] = True
    return chosen


def spread(scores: np.ndarray, n: int, seed: int = 0, ranges: int = 20) -> np.ndarray:
    """Places of pairs to be labelled where no matcher is there to ask: about as many of each range of scores.

    Of candidates most are plainly different. Drawn evenly, nearly all labels would say so, and nothing would be learned
    of the doubtful ones.

    Args:
        scores: How alike the records of each pair are. (m,)
        n: How many are wanted; all where there are fewer.
        seed: Of the draws.
        ranges: Of equal width.

    Returns:
        Different places, the most alike first. (at most n,) int64
    """
    if not len(scores):
        return np.zeros(0, np.int64)
    edges = np.linspace(scores.min(), scores.max(), ranges + 1)
    which = np.searchsorted(edges[1:-1], scores, side="right")
    weights = 1 / np.bincount(which, minlength=ranges)[which]
    random = np.random.default_rng(seed)
    chosen = random.choice(len(scores), min(n, len(scores)), replace=False, p=weights / weights.sum())
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def suspected_noise(log_odds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Places of pairs whose labels look wrong, the most suspicious first.

    A label is suspected where the stated chance of the other one is at least the mean that pairs so labelled are given
    (Northcutt et al., 'Confident Learning', JAIR 2021, section 3.1), and above one half. The matcher must not have
    learned from these pairs: what it has seen it believes.

    Args:
        log_odds: Calibrated, by a matcher that has not seen these pairs. (m,)
        labels: (m,) bool

    Returns:
        (k,) int64

    Example:
        >>> stated = np.array([4.0, 3.0, -3.0, -4.0, 5.0])
        >>> suspected_noise(stated, np.array([True, True, False, False, False])).tolist()
        [4]
    """
    chances, labels = probabilities(np.asarray(log_odds, np.float64)), np.asarray(labels, bool)
    found = []
    for label in (False, True):
        mine, other = labels == label, labels != label
        if mine.any() and other.any():
            of_other = chances if not label else 1 - chances
            typical = of_other[other].mean()
            found.append(np.flatnonzero(mine & (of_other >= typical) & (of_other > 0.5)))
    places = np.concatenate(found) if found else np.zeros(0, np.int64)
    wrong = np.where(labels[places], 1 - chances[places], chances[places])
    return places[np.argsort(-wrong, kind="stable")]
