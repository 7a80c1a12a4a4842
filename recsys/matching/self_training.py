"""Matching without a label: similarities are weighed, and a threshold is chosen, by the data alone.

1. Pairs are scored, at first by how alike their characters are.
2. Pairs that are best of each other are targets, and decoys say how many of them are false: see
   `recsys.matching.targets`; and so which score gives the best F1.
3. Targets above it are positive examples, all that are no targets negative ones; a logistic regression learns to weigh
   similarities from them, and scores all pairs (self-training). Again from 2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.similarities import Similarities
from recsys.matching.targets import DOUBT, Targets, best_of_each_other

#: of the regression's weights, squared
_DECAY = 1e-2
#: strangers inside a source are believed where they say that at least so much of F1 can be had
_BELIEVED = 0.5
#: where so many records of the smaller table have a match, targets taken away leave better decoys
_MOST = 0.5


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

    def log_odds(self, pairs: RecordPairs, alike: Similarities, one_to_one: bool = False) -> np.ndarray:
        """That pairs are the same, 0 for what is as likely as not. (m,) float64

        Args:
            pairs: All candidates of a record together, since the best of them is judged otherwise than the rest. (m)
            alike: How alike their records are. (m, F)
            one_to_one: Whether an assignment follows that gives each record one partner: then all pairs are judged
                alike, since a record whose best candidate is taken has another one.

        Raises:
            InputError: Other similarities than it was trained with.
        """
        if alike.names != self.names:
            raise InputError(f"similarities of {', '.join(alike.names)} were given to what has learned from others")
        score = self.scores(alike)
        found = np.interp(score, self.at, self.worth)
        if one_to_one:  # of pairs that are worth the same, the higher score
            return found + 1e-4 * (found >= self.threshold) * (score - min(self.at))
        rest = ~best_of_each_other(pairs, score, np.ones(len(score), bool))
        # as far from being likely as its score is from what would make it so
        found[rest] = np.minimum(found[rest], self.threshold + np.minimum(score[rest] - self.rest, 0) - DOUBT)
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


def self_trained(
    pairs: RecordPairs,
    alike: Similarities,
    strangers: tuple[RecordPairs, Similarities] | None = None,
    rounds: int = 6,
) -> SelfTrained:
    """Learns from candidates which of them are the same.

    Args:
        pairs: Candidates of two tables, or of one; several for each record, so that most are not the same. (m pairs)
        alike: Of each pair, "characters" among them. (m, F)
        strangers: Candidates inside sources without duplicates, which are never the same, and their similarities.
        rounds: Of self-training.

    Raises:
        InputError: No pair.
    """
    if not len(pairs):
        raise InputError("there are no candidates to learn from")
    means, deviations = _scale(alike.values)
    values = _on_scale(alike.values, means, deviations)
    start = np.append((np.array(alike.names) == "characters").astype(float), 0.0)
    found = None
    if strangers is not None and len(strangers[0]):
        others = strangers[0], _on_scale(strangers[1].values, means, deviations)
        weights, found = _weighed(pairs, values, others, start, rounds)
    if found is None or found.f1 < _BELIEVED or found.matched(pairs, _scores(values, weights)) > _MOST:
        weights, found = _weighed(pairs, values, None, start, rounds)
    score = _scores(values, weights)
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


def _weighed(
    pairs: RecordPairs,
    values: np.ndarray,
    strangers: tuple[RecordPairs, np.ndarray] | None,
    weights: np.ndarray,
    rounds: int,
) -> tuple[np.ndarray, Targets]:
    """Weights after some rounds of self-training, and the targets and decoys under them."""
    for _ in range(rounds):
        found = _targets(pairs, values, strangers, weights)
        positive = found.target & (_scores(values, weights) >= found.threshold)
        if not positive.any() or found.target.all():
            break
        used = ~found.target | positive
        weights = _regression(values[used], positive[used])
    return weights, _targets(pairs, values, strangers, weights)


def _targets(
    pairs: RecordPairs, values: np.ndarray, strangers: tuple[RecordPairs, np.ndarray] | None, weights: np.ndarray
) -> Targets:
    others = None if strangers is None else (strangers[0], _scores(strangers[1], weights))
    return Targets.of(pairs, _scores(values, weights), others)


def _scores(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(m, F), (F + 1,) -> (m,)"""
    return values @ weights[:-1] + weights[-1]


def _scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of what is told, and the deviation where nothing said counts as the mean. (F,), (F,)"""
    known = ~np.isnan(values)
    means = np.where(known, values, 0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
    return means, np.where(known, values, means).std(axis=0) + 1e-9


def _on_scale(values: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """(m, F) float64"""
    return (np.where(np.isnan(values), means, values.astype(np.float64)) - means) / deviations


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
