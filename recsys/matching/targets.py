"""How many of the likeliest pairs are false, without a label.

A pair is likely the same thing where each record is the other's best candidate: a target. How good the best candidate
of a record without a match would look is known from pairs that are no matches, and best of each other all the same:
decoys. Proteins are searched in data bases so, and the share of false finds is counted so (Elias and Gygi, Nature
Methods 2007: target-decoy search; Storey and Tibshirani, PNAS 2003: how many finds are false in all).

Inside a source that has no duplicates, all pairs are decoys that are best of each other. Where there is no such source,
or its records are nearer to each other than to their matches, decoys are best of each other without the targets, which
is right where most records have a match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import logit

from features.record_pairs import RecordPairs

#: chances are kept away from 0 and 1 by this much
DOUBT = 1e-3


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets and decoys under some scores, and the threshold of the best F1 by their numbers.

    Args:
        target: Which pairs are targets. (m,) bool
        decoys: Scores of decoys, ascending. (d,)
        threshold: Of targets.
        precision: Estimated, of targets above it.
        recall: Estimated, of matches that are targets.
    """

    target: np.ndarray
    decoys: np.ndarray
    threshold: float
    precision: float
    recall: float

    @classmethod
    def of(
        cls,
        pairs: RecordPairs,
        score: np.ndarray,
        strangers: tuple[RecordPairs, np.ndarray] | None = None,
    ) -> Targets:
        """Counts.

        Args:
            pairs: Candidates. (m pairs)
            score: Of each. (m,)
            strangers: Pairs that are never the same, and their scores; targets are taken away, where not given.
        """
        target = best_of_each_other(pairs, score, np.ones(len(score), bool))
        if strangers is None:
            decoys = score[best_of_each_other(pairs, score, ~target)]
        else:
            decoys = strangers[1][best_of_each_other(*strangers, np.ones(len(strangers[1]), bool))]
        targets, decoys = np.sort(score[target]), np.sort(decoys)
        each = _false_per_decoy(targets, decoys)
        at = np.unique(targets)
        called = len(targets) - np.searchsorted(targets, at)
        right = np.maximum(called - each * (len(decoys) - np.searchsorted(decoys, at)), 0)
        best = int(np.argmax(right / (called + right.max())))
        recall = right[best] / max(right.max(), 1e-9)
        return cls(target, decoys, float(at[best]), float(right[best] / called[best]), float(recall))

    @property
    def f1(self) -> float:
        """Estimated."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-9)

    def matched(self, pairs: RecordPairs, score: np.ndarray) -> float:
        """What share of the records that have candidates, of the table where they are fewer, has a target above it."""
        called = self.target & (score >= self.threshold)
        sides = (pairs.left_rows, pairs.right_rows)
        if pairs.left is pairs.right:  # of several sources in one table
            return 2 * float(called.sum()) / len(np.unique(np.concatenate(sides)))
        return float(called.sum()) / min(len(np.unique(rows)) for rows in sides)

    def calibrated(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores of targets and their log-odds, by how many decoys there are of about the same score. (k,), (k,)"""
        targets = np.sort(score[self.target])
        false = self._false(targets)
        chance = (1 - false).clip(DOUBT, 1 - DOUBT)
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
