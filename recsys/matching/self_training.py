"""Matching without a label: similarities are weighed, and a threshold is chosen, by the data alone.

A pair is likely the same thing where each record is the other's best candidate. How good the best candidate of a record
without a match would look is seen where the match is taken away: the best candidates that are left, best of each other
again, are decoys. Proteins are searched in data bases so, and the share of false finds is counted so (Elias and Gygi,
Nature Methods 2007: target-decoy search; Storey and Tibshirani, PNAS 2003: how many finds are false in all).

1. Pairs are scored, at first by how alike their characters are.
2. Pairs that are best of each other are targets, those that are so without the targets are decoys; the number of decoys
   above a score says how many targets above it are false, and so which score gives the best F1.
3. Targets above it are positive examples, all that are no targets negative ones; a logistic regression learns to weigh
   similarities from them, and scores all pairs (self-training). Again from 2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.similarities import Similarities

#: of the regression's weights, squared
_DECAY = 1e-2
#: chances are kept away from 0 and 1 by this much
_DOUBT = 1e-3


@dataclass(frozen=True)
class SelfTrained:
    """What the data said by themselves.

    Args:
        names: Of the similarities. (F,)
        means: Of each; what is not told counts as this. (F,)
        weights: Of each, as they are. (F,)
        added: To their weighted sum.
        at: Scores, ascending, of pairs that are best of each other. (k,)
        worth: Log-odds there, ascending. (k,)
        threshold: Log-odds from which on a pair counts as the same.
        rest: From which score on a pair counts as the same that is not best of each other; most never do.
        precision: Estimated, of what is called the same.
        recall: Estimated, of matches that are candidates.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    weights: tuple[float, ...]
    added: float
    at: tuple[float, ...]
    worth: tuple[float, ...]
    threshold: float
    rest: float
    precision: float
    recall: float

    def log_odds(self, pairs: RecordPairs, alike: Similarities) -> np.ndarray:
        """That pairs are the same, 0 for what is as likely as not. (m pairs), (m, F) -> (m,) float64

        All candidates of a record are wanted together, since the best of them is judged otherwise than the rest.

        Raises:
            InputError: Other similarities than it was trained with.
        """
        if alike.names != self.names:
            raise InputError(f"similarities of {', '.join(alike.names)} were given to what has learned from others")
        score = self.scores(alike)
        found = np.interp(score, self.at, self.worth)
        rest = ~best_of_each_other(pairs, score, np.ones(len(score), bool))
        # as far from being likely as its score is from what would make it so
        found[rest] = np.minimum(found[rest], self.threshold + np.minimum(score[rest] - self.rest, 0) - _DOUBT)
        sure = rest & (score >= self.rest)
        found[sure] = np.maximum(np.interp(score[sure], self.at, self.worth), self.threshold)
        return found

    def scores(self, alike: Similarities) -> np.ndarray:
        """The weighted sums. (m, F) -> (m,)"""
        values = alike.values.astype(np.float64)
        return np.where(np.isnan(values), self.means, values) @ np.array(self.weights) + self.added

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists; see `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SelfTrained:
        """The inverse of `to_json`.

        Raises:
            InputError: Something else.
        """
        try:
            return cls(**{name: tuple(one) if isinstance(one, list) else one for name, one in data.items()})
        except TypeError as error:
            raise InputError(f"this is nothing that was trained on similarities: {error}") from None


def self_trained(pairs: RecordPairs, alike: Similarities, rounds: int = 6) -> SelfTrained:
    """Learns from candidates which of them are the same.

    Args:
        pairs: Candidates of two tables, or of one; several for each record, so that most are not the same. (m pairs)
        alike: Of each pair, "characters" among them. (m, F)
        rounds: Of self-training.

    Raises:
        InputError: No pair.
    """
    if not len(pairs):
        raise InputError("there are no candidates to learn from")
    means, deviations, values = _on_one_scale(alike.values)
    score = values[:, alike.names.index("characters")]
    weights = np.append((np.array(alike.names) == "characters").astype(float), 0.0)
    for _ in range(rounds):
        found = _Round.of(pairs, score)
        positive = found.target & (score >= found.threshold)
        if not positive.any() or found.target.all():
            break
        used = ~found.target | positive
        weights = _regression(values[used], positive[used])
        score = values @ weights[:-1] + weights[-1]
    found = _Round.of(pairs, score)
    at, worth = found.calibrated(score)
    plain = weights[:-1] / deviations
    return SelfTrained(
        alike.names,
        tuple(means.tolist()),
        tuple(plain.tolist()),
        float(weights[-1] - plain @ means),
        tuple(at.tolist()),
        tuple(worth.tolist()),
        float(np.interp(found.threshold, at, worth)),
        found.rest(score),
        found.precision,
        found.recall,
    )


def _on_one_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, deviations, and values of mean 0 and deviation 1, where nothing said counts as the mean."""
    values = values.astype(np.float64)
    known = ~np.isnan(values)
    means = np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    values = np.where(known, values, means) - means
    deviations = values.std(axis=0) + 1e-9
    return means, deviations, values / deviations


@dataclass(frozen=True, eq=False)
class _Round:
    """Targets and decoys under some scores, and the threshold of the best F1 by their numbers."""

    target: np.ndarray
    decoys: np.ndarray
    threshold: float
    precision: float
    recall: float

    @classmethod
    def of(cls, pairs: RecordPairs, score: np.ndarray) -> _Round:
        target = best_of_each_other(pairs, score, np.ones(len(score), bool))
        decoy = best_of_each_other(pairs, score, ~target)
        targets, decoys = np.sort(score[target]), np.sort(score[decoy])
        each = _false_per_decoy(targets, decoys)
        at = np.unique(targets)
        called = len(targets) - np.searchsorted(targets, at)
        right = np.maximum(called - each * (len(decoys) - np.searchsorted(decoys, at)), 0)
        best = int(np.argmax(right / (called + right.max())))
        recall = right[best] / max(right.max(), 1e-9)
        return cls(target, decoys, float(at[best]), float(right[best] / called[best]), float(recall))

    def calibrated(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of targets and their log-odds, by how many decoys there are of about the same score. (k,), (k,)"""
        targets = np.sort(score[self.target])
        false = self._false(targets)
        chance = (1 - false).clip(_DOUBT, 1 - _DOUBT)
        at, first = np.unique(targets, return_index=True)
        return at, logit(np.maximum.accumulate(chance[first]))

    def rest(self, score: np.ndarray) -> float:
        """From which score on even pairs that are not best of each other are likelier the same than not."""
        others = np.sort(score[~self.target])
        likely = self._false(others) < 0.5
        return float(others[np.argmax(likely)]) if likely.any() else float(np.max(score) + 1)

    def _false(self, scores: np.ndarray) -> np.ndarray:
        """The share of pairs of about this score that are false: it falls as scores rise. (sorted) -> (k,)"""
        if not len(self.decoys) or not len(scores):
            return np.zeros(len(scores))
        both = np.concatenate([scores, self.decoys])
        decoy = np.arange(len(both)) >= len(scores)
        weight = np.where(decoy, _false_per_decoy(scores, self.decoys), 1.0) + 1e-12
        order = np.lexsort((~decoy, both))
        share = np.empty(len(both))
        share[order] = isotonic_regression(decoy[order].astype(float), weights=weight[order], increasing=False).x
        of_both = share[: len(scores)].clip(max=0.5)  # decoys among both; false ones there are as many again
        return of_both / (1 - of_both)


def _false_per_decoy(targets: np.ndarray, decoys: np.ndarray) -> float:
    """For each decoy, how many targets are false: below the decoys' middle, all are. (sorted), (sorted)"""
    if not len(decoys):
        return 0.0
    middle = decoys[len(decoys) // 2]
    below = max(int(np.searchsorted(decoys, middle)), 1)
    return float(np.searchsorted(targets, middle) / below)


def best_of_each_other(pairs: RecordPairs, score: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which pairs are the best of both their records, of some of the pairs. (m,), (m,) bool -> (m,) bool"""
    here = np.where(among, score, -np.inf)
    best = [np.full(len(pairs.left), -np.inf)]
    best.append(best[0] if pairs.left is pairs.right else np.full(len(pairs.right), -np.inf))
    for one, rows in zip(best, (pairs.left_rows, pairs.right_rows), strict=True):
        np.maximum.at(one, rows, here)
    return among & (score >= best[0][pairs.left_rows]) & (score >= best[1][pairs.right_rows])


def _regression(values: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression in which positive examples weigh half as much as others; the last is added."""
    ones = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    weight = np.where(positive, 0.5 * (~positive).sum() / positive.sum(), 1.0)
    weight /= weight.sum()

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        told = ones @ weights
        decayed = np.append(weights[:-1], 0.0)
        value = weight @ (np.logaddexp(0, told) - positive * told) + _DECAY * decayed @ decayed
        return value, ones.T @ (weight * (expit(told) - positive)) + 2 * _DECAY * decayed

    return minimize(loss, np.zeros(ones.shape[1]), jac=True, method="L-BFGS-B").x
