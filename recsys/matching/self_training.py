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
from recsys.matching.similarities import Similarities, on_scale, scale_of
from recsys.matching.targets import Candidacies, Targets, targets_of

#: of the regression's weights, squared
_DECAY = 1e-2
#: strangers inside a source are believed where they say that at least so much of F1 can be had
_BELIEVED = 0.5
#: where so many records of the smaller table have a match, targets taken away leave better decoys
_MOST = 0.5
#: a chance is never 0 or 1
_DOUBT = 1e-3
#: log-odds below the threshold of pairs that are as alike as matches, and are not best of each other
_NEUTRAL = 1e-3


@dataclass(frozen=True)
class SelfTrained:
    """What the data said by themselves.

    Args:
        names: Of the similarities. (F,)
        means: Of each; what is not told counts as this. (F,)
        weights: Of each, as they are. (F,)
        added: To their weighted sum, the score.
        scale: Log-odds of a pair that is best of its records are the score times this,
        shift: and this added.
        threshold: Log-odds from which on such a pair counts as the same.
        precision: Estimated, of what is called the same.
        recall: Estimated, of matches that are best of their records.
    """

    names: tuple[str, ...]
    means: tuple[float, ...]
    weights: tuple[float, ...]
    added: float
    scale: float
    shift: float
    threshold: float
    precision: float
    recall: float

    def log_odds(self, candidacies: Candidacies, alike: Similarities, each_alone: bool = False) -> np.ndarray:
        """That pairs are the same, 0 for what is as likely as not. (m,) float64

        Args:
            candidacies: All candidates of a record together, since the best of them is judged otherwise than the rest.
            alike: How alike their records are. (m, F)
            each_alone: Judges each pair by itself, whatever others there are: for an assignment that gives each record
                one partner, since a record whose best candidate is taken has another one; and for whoever wants to
                know of each record how likely it is the same.

        Raises:
            InputError: Other similarities than it was trained with.
        """
        if alike.names != self.names:
            raise InputError(f"similarities of {', '.join(alike.names)} were given to what has learned from others")
        score = self.scores(alike)
        found = score * self.scale + self.shift
        if each_alone:
            return found
        rest = ~targets_of(candidacies, score)
        return np.where(rest, np.minimum(found, self.threshold - _NEUTRAL), found)

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
            known: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in data.items()}
            return cls(**known)
        except TypeError as error:
            raise InputError(f"this is nothing that was trained on similarities: {error}") from None


def self_trained(
    candidacies: Candidacies,
    alike: Similarities,
    strangers: tuple[Candidacies, Similarities] | None = None,
    rounds: int = 6,
) -> SelfTrained:
    """Learns from candidates which of them are the same.

    Args:
        candidacies: Several for each record, so that most are not the same. (m pairs)
        alike: Of each pair, "characters" among them. (m, F)
        strangers: Candidates inside sources without duplicates, which are never the same, and their similarities.
        rounds: Of self-training.

    Raises:
        InputError: No pair.
    """
    if not len(candidacies.pairs):
        raise InputError("there are no candidates to learn from")
    means, deviations = scale_of(alike.values)
    values = on_scale(alike.values, means, deviations)
    start = np.append((np.array(alike.names) == "characters").astype(float), 0.0)
    found = None
    if strangers is not None and len(strangers[0].pairs):
        others = strangers[0], on_scale(strangers[1].values, means, deviations)
        weights, found = _weighed(candidacies, values, others, start, rounds)
    if found is None or found.f1 < _BELIEVED or found.matched > _MOST:
        again = _weighed(candidacies, values, None, start, rounds)
        # taking targets away is right where most records have a match: it is believed where it says so itself
        if found is None or again[1].matched > _MOST:
            weights, found = again
    score = _scores(values, weights)
    scale, shift = _calibrated(found, score)
    plain = weights[:-1] / deviations
    return SelfTrained(
        alike.names,
        tuple(means.tolist()),
        tuple(plain.tolist()),
        float(weights[-1] - plain @ means),
        scale,
        shift,
        found.threshold * scale + shift,
        found.precision,
        found.recall,
    )


def _calibrated(found: Targets, score: np.ndarray) -> tuple[float, float]:
    """A scale above 0 and a shift: log-odds of targets by their scores, as their chances are. (m,)"""
    targets = np.sort(score[found.target])
    chance = found.chances(targets).clip(_DOUBT, 1 - _DOUBT)
    # where all targets are surely right, decoys say from where on
    scores = np.concatenate([targets, found.decoys])
    chance = np.concatenate([chance, np.full(len(found.decoys), _DOUBT)])
    weight = np.concatenate([np.ones(len(targets)), np.full(len(found.decoys), 0.1)])
    weight /= weight.sum()
    middle, spread = float(score.mean()), max(float(score.std()), 1e-6)

    def loss(numbers: np.ndarray) -> float:
        told = (scores - middle) / spread * np.exp(numbers[0]) + numbers[1]
        return float(weight @ (np.logaddexp(0, told) - chance * told)) + 1e-3 * float(numbers @ numbers)

    scale, shift = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    scale = float(np.exp(scale)) / spread
    return scale, float(shift - scale * middle)


def _weighed(
    candidacies: Candidacies,
    values: np.ndarray,
    strangers: tuple[Candidacies, np.ndarray] | None,
    weights: np.ndarray,
    rounds: int,
) -> tuple[np.ndarray, Targets]:
    """Weights after some rounds of self-training, and the targets and decoys under them."""
    for _ in range(rounds):
        found = _targets(candidacies, values, strangers, weights)
        positive = found.target & (_scores(values, weights) >= found.threshold)
        if not positive.any() or found.target.all():
            break
        used = ~found.target | positive
        weights = _regression(values[used], positive[used])
    return weights, _targets(candidacies, values, strangers, weights)


def _targets(
    candidacies: Candidacies, values: np.ndarray, strangers: tuple[Candidacies, np.ndarray] | None, weights: np.ndarray
) -> Targets:
    others = None if strangers is None else (strangers[0], _scores(strangers[1], weights))
    return Targets.of(candidacies, _scores(values, weights), others)


def _scores(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(m, F), (F + 1,) -> (m,)"""
    return values @ weights[:-1] + weights[-1]


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
