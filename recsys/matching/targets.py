"""How many of the likeliest pairs are false, without a label.

A pair is likely the same thing where each record is the other's best candidate, of those from the other's source: a
target. How good the best candidate of a record without a match would look is known from pairs that are no matches, and
best of each other all the same: decoys. Proteins are searched in data bases so, and the share of false finds is counted
so (Elias and Gygi, Nature Methods 2007: target-decoy search; Storey and Tibshirani, PNAS 2003: how many are false).

- Inside a source without duplicates, all pairs that are best of each other are decoys.
- Where there is no such source, or its records are nearer to each other than to their matches, decoys are best of each
  other once the targets are taken away. For a record with a match that is what its best stranger looks like; for one
  without it is a second best, lower than the best by about as much as a third best is lower than that, so that decoys
  are raised by this much for the share of records without a match.
- Where a thing may have several records, targets are taken away more than once, while what is left still has matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import isotonic_regression

from features.record_pairs import RecordPairs

#: times that targets are taken away at the most
_ROUNDS = 5
#: what is left has matches while so large a share of it is above decoys
_STILL = 0.3
#: steps in which the share of records with a match is found
_STEPS = 8
#: where nothing is the same, by what share of the scores' deviation the threshold is above the best one
_ABOVE = 1e-3


@dataclass(frozen=True, eq=False)
class Candidacies:
    """Scored pairs, and which source each record is of.

    Args:
        pairs: Candidates. (m pairs)
        sources: A number for the source of the left record of each pair, and one for the right one. (m,), (m,)
        several: Whether a thing may have several records in one source.
    """

    pairs: RecordPairs
    sources: tuple[np.ndarray, np.ndarray]
    several: bool = False

    @classmethod
    def of(cls, pairs: RecordPairs, source: np.ndarray | None = None, several: bool = False) -> Candidacies:
        """Of two tables, or of one whose records have sources. (n,)"""
        if source is None:
            source = np.zeros(max(len(pairs.left), len(pairs.right)), np.int64)
        return cls(pairs, (source[pairs.left_rows], source[pairs.right_rows]), several)

    def mutual(self, score: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Which pairs are the best of both their records, of those with the other's source. (m,), (m,) -> (m,) bool"""
        pairs = self.pairs
        here = np.where(among, score, -np.inf)
        sources = int(max(one.max(initial=0) for one in self.sources)) + 1
        sizes = len(pairs.left), len(pairs.right)
        best = [np.full(sizes[0] * sources, -np.inf)]
        best.append(best[0] if pairs.left is pairs.right else np.full(sizes[1] * sources, -np.inf))
        places = pairs.left_rows * sources + self.sources[1], pairs.right_rows * sources + self.sources[0]
        for one, place in zip(best, places, strict=True):
            np.maximum.at(one, place, here)
        return among & (score >= best[0][places[0]]) & (score >= best[1][places[1]])

    @cached_property
    def most(self) -> int:
        """How many matches there are at the most, were each record to have one partner in each source."""
        rows, sources = (np.concatenate(one) for one in ((self.pairs.left_rows, self.pairs.right_rows), self.sources))
        if self.pairs.left is not self.pairs.right:
            sources = np.repeat([0, 1], len(self.pairs))
        there = np.unique(np.stack([rows, sources]), axis=1)[1]
        counts = np.sort(np.bincount(there))
        counts = counts[counts > 0]
        between = int((counts * np.arange(len(counts))[::-1]).sum())  # of each two the smaller one
        return max(between + (int(counts.sum()) // 2 if self.several or len(counts) == 1 else 0), 1)


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets and decoys under some scores, and the threshold of the best F1 by their numbers.

    Args:
        target: Which pairs are targets. (m,) bool
        decoys: Scores of decoys, ascending. (d,)
        threshold: Of targets; above all where no threshold is likelier right than wrong.
        precision: Estimated, of targets above it.
        recall: Estimated, of matches that are targets.
        matched: Estimated share of the matches that there could be.
    """

    target: np.ndarray
    decoys: np.ndarray
    threshold: float
    precision: float
    recall: float
    matched: float

    @classmethod
    def of(
        cls, candidacies: Candidacies, score: np.ndarray, strangers: tuple[Candidacies, np.ndarray] | None = None
    ) -> Targets:
        """Counts.

        Args:
            candidacies: Candidates. (m pairs)
            score: Of each. (m,)
            strangers: Pairs that are never the same, and their scores; targets are taken away, where not given.
        """
        if strangers is not None:
            others, decoys = strangers
            decoys = np.sort(decoys[others.mutual(decoys, np.ones(len(decoys), bool))])
            target = candidacies.mutual(score, np.ones(len(score), bool))
            return cls._counted(candidacies, target, score, decoys)
        rounds = _taken_away(candidacies, score)
        sorted_scores = [np.sort(score[one]) for one in rounds]
        last = _with_matches(sorted_scores) if candidacies.several else 1
        target = np.logical_or.reduce(rounds[:last])
        matched = 0.5
        for _ in range(_STEPS):
            decoys = _raised(sorted_scores[last], sorted_scores[last + 1], 1 - matched)
            found = cls._counted(candidacies, target, score, decoys)
            matched = (matched + found.matched) / 2
        return found

    @classmethod
    def _counted(cls, candidacies: Candidacies, target: np.ndarray, score: np.ndarray, decoys: np.ndarray) -> Targets:
        targets = np.sort(score[target])
        at, right = _right(targets, decoys)
        called = len(targets) - np.searchsorted(targets, at)
        most = max(float(right.max(initial=0)), 1e-9)
        best = int(np.argmax(right / (called + most)))
        precision = float(right[best] / called[best])
        if precision < 0.5:  # so far above all that a difference survives whatever is reckoned with it
            above = float(targets[-1] + _ABOVE * max(float(score.std()), abs(float(targets[-1])), 1e-6))
            return cls(target, decoys, above, precision, 0.0, 0.0)
        # in the middle between what is called and what is not
        lower = decoys[decoys < at[0]] if best == 0 else at[:best]
        below = lower[-1] if len(lower) else at[best]
        threshold = float((at[best] + below) / 2)
        return cls(target, decoys, threshold, precision, float(right[best] / most), min(most / candidacies.most, 1.0))

    @property
    def f1(self) -> float:
        """Estimated."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-9)

    def chances(self, scores: np.ndarray) -> np.ndarray:
        """That targets of these scores are the same; it rises with them. (sorted) -> (k,)"""
        if not len(self.decoys) or not len(scores):
            return np.ones(len(scores))
        both = np.concatenate([scores, self.decoys])
        decoy = np.arange(len(both)) >= len(scores)
        weight = np.where(decoy, _false_per_decoy(scores, self.decoys), 1.0) + 1e-12
        order = np.lexsort((~decoy, both))
        share = np.empty(len(both))
        share[order] = isotonic_regression(decoy[order].astype(float), weights=weight[order], increasing=False).x
        of_both = share[: len(scores)].clip(max=0.5)  # decoys among both; false ones there are as many again
        return 1 - of_both / (1 - of_both)


def targets_of(candidacies: Candidacies, score: np.ndarray) -> np.ndarray:
    """Which pairs are targets, by themselves: as `Targets.of` has them, without what those are counted for.

    Args:
        candidacies: Candidates. (m pairs)
        score: Of each. (m,)

    Returns:
        (m,) bool
    """
    if not candidacies.several:
        return candidacies.mutual(score, np.ones(len(score), bool))
    rounds = _taken_away(candidacies, score)
    return np.logical_or.reduce(rounds[: _with_matches([np.sort(score[one]) for one in rounds])])


def _with_matches(rounds: list[np.ndarray]) -> int:
    """How many rounds still have matches, by the sorted scores of each."""
    last, right = 1, 0.0  # and how many they have together
    for n in range(len(rounds) - 2):
        # of records without a match the next round's best is lower by twice what it is lower the time after
        decoys = _raised(rounds[n + 1], rounds[n + 2], 2.0)
        more = float(_right(rounds[n], decoys)[1].max(initial=0))
        if more >= _STILL * max(len(rounds[n]), right):
            last = n + 1
        right += more
    return last


def _taken_away(candidacies: Candidacies, score: np.ndarray) -> list[np.ndarray]:
    """Which pairs are best of each other, then so without those, and so on. (rounds of (m,) bool)"""
    left, found = np.ones(len(score), bool), []
    for _ in range(_ROUNDS + 1 if candidacies.several else 3):
        found.append(candidacies.mutual(score, left))
        left = left & ~found[-1]
    return found


def _raised(decoys: np.ndarray, lower: np.ndarray, share: float) -> np.ndarray:
    """Decoys, each raised by a share of what it is above the same quantile of lower ones. (sorted), (sorted)"""
    if not len(decoys) or not len(lower):
        return decoys
    same = np.quantile(lower, (np.arange(len(decoys)) + 0.5) / len(decoys))
    return np.sort(decoys + share * np.maximum(decoys - same, 0))


def _right(targets: np.ndarray, decoys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each different score of targets, and how many of those above it are right. (sorted), (sorted) -> (k,), (k,)"""
    at = np.unique(targets)
    each = _false_per_decoy(targets, decoys)
    called = len(targets) - np.searchsorted(targets, at)
    return at, np.maximum(called - each * (len(decoys) - np.searchsorted(decoys, at)), 0.0)


def _false_per_decoy(targets: np.ndarray, decoys: np.ndarray) -> float:
    """For each decoy, how many targets are false: below the decoys' middle, all are. (sorted), (sorted)"""
    if not len(decoys):
        return 0.0
    middle = decoys[len(decoys) // 2]
    below = max(int(np.searchsorted(decoys, middle)), 1)
    return float(np.searchsorted(targets, middle) / below)
