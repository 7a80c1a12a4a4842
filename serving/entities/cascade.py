"""A cascade: how alike records are decides about most pairs, and a matcher about those where that is unsure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.calibration import probabilities
from recsys.matching.similarities import Comparison, Similarities
from recsys.matching.surrogate import Surrogate, taught
from serving.entities.judges import Judged, Progress, Stage, silent

if TYPE_CHECKING:  # which loads torch
    from serving.matching.matcher import Matcher

#: pairs by which the speed of a matcher is known, where minutes are given
_TIMED = 512
#: in so many goes the matcher is asked; what it has said so far tells where the next one is best spent
_ROUNDS = 5


class CascadeJudge:
    """A matcher judges the pairs whose similarities tell least; of the others its `Surrogate` says what it would say.

    The surrogate learns from what the matcher says in this very job, round by round: in the first the matcher is asked
    about the most similar pairs and about some of all, and then about those where the surrogate is least sure.

    Args:
        first: A cheap matcher whose log-odds are one of the similarities, such as a bi-encoder that the second was
            distilled into; none where not given.
        second: The matcher.
        pairs: How many pairs it may judge at the most.
        minutes: Or how long; one of both is given.
        precision: Wanted of it.
        learned: What was learned before, and is not learned anew.

    Raises:
        InputError: Neither or both budgets, one that is nothing, or matchers of other attributes.
    """

    lasting = True

    def __init__(
        self,
        first: Matcher | None,
        second: Matcher,
        pairs: int | None = None,
        minutes: float | None = None,
        precision: float | None = None,
        learned: Surrogate | None = None,
    ) -> None:
        budget = pairs if minutes is None else minutes
        if budget is None or (pairs is not None and minutes is not None):
            raise InputError("a cascade has a budget of pairs or of minutes, one of both")
        if budget <= 0:
            raise InputError("the budget of a cascade is more than 0")
        if first is not None and first.manifest.attributes != second.manifest.attributes:
            raise InputError(
                f"the first matcher reads {', '.join(first.manifest.attributes)}, and the second "
                f"{', '.join(second.manifest.attributes)}"
            )
        self.matcher, self.learned = second, learned
        self._first, self._pairs, self._minutes = first, pairs, minutes
        self.threshold = second.threshold(precision)

    def judge(self, pairs: RecordPairs, progress: Progress = silent) -> Judged:
        """(m pairs)"""
        began = time.perf_counter()
        alike, asked = self._alike(pairs), _Asked(self.matcher, self.threshold, pairs)
        budget = self._budget(asked)
        rounds = _ROUNDS if self.learned is None else 1  # one that has learned asks in the same order each time
        for n in range(rounds):
            learned = self._learned(alike, asked)
            order = _to_begin_with(alike) if learned is None else _least_sure(learned.log_odds(alike))
            asked.about(order, round(budget * (n + 1) / rounds))
            progress(asked.n, budget)
        self.learned = self._learned(alike, asked)
        assert self.learned is not None  # something was asked, since a budget is more than nothing
        said = np.where(asked.known, asked.said, self.learned.log_odds(alike))
        same, rest = said >= 0, time.perf_counter() - began - asked.seconds
        stages = (
            Stage("similarities", int((~asked.known).sum()), int(same[~asked.known].sum()), rest),
            Stage("matcher", asked.n, int(same[asked.known].sum()), asked.seconds),
        )
        return Judged(said, stages)

    def _alike(self, pairs: RecordPairs) -> Similarities:
        """What the records of pairs have in common. (m, F)"""
        found = Comparison(pairs.left, pairs.right).similarities(pairs)
        if self._first is None:
            return found
        cheap = self._first.score(pairs).log_odds.astype(np.float32)
        return Similarities((*found.names, "first"), np.concatenate([found.values, cheap[:, None]], axis=1))

    def _learned(self, alike: Similarities, asked: _Asked) -> Surrogate | None:
        """What the matcher's verdicts so far teach; nothing, where there is none."""
        if self.learned is not None or not asked.n:
            return self.learned
        known = Similarities(alike.names, alike.values[asked.known])
        return taught(known, probabilities(asked.said[asked.known]))

    def _budget(self, asked: _Asked) -> int:
        """How many pairs the matcher judges."""
        most = len(asked.known)
        if self._pairs is not None:
            return min(self._pairs, most)
        assert self._minutes is not None  # one of both is given
        asked.about(np.arange(most)[:: max(1, most // _TIMED)], _TIMED)
        return min(max(asked.n, int(60 * self._minutes * asked.n / asked.seconds)), most)

    @property
    def settings(self) -> dict[str, Any]:
        """Which matchers, the threshold, the budget, and what was learned."""
        return {
            "kind": "cascade",
            "first": None if self._first is None else self._first.identity,
            "matcher": self.matcher.identity,
            "threshold": self.threshold,
            "pairs": self._pairs,
            "minutes": self._minutes,
            "learned": None if self.learned is None else self.learned.to_json(),
        }


class _Asked:
    """What a matcher was asked about, and what it said.

    Args:
        matcher: Who is asked.
        threshold: From which on it calls a pair the same.
        pairs: That it may be asked about. (m pairs)
    """

    def __init__(self, matcher: Matcher, threshold: float, pairs: RecordPairs) -> None:
        self._matcher, self._threshold, self._pairs = matcher, threshold, pairs
        self.known, self.said = np.zeros(len(pairs), bool), np.zeros(len(pairs))
        self.seconds = 0.0

    @property
    def n(self) -> int:
        """How many pairs."""
        return int(self.known.sum())

    def about(self, order: np.ndarray, most: int) -> None:
        """Asks about the first pairs of an order that it was not asked about, until so many are known in all."""
        some = order[~self.known[order]][: max(0, most - self.n)]
        if not len(some):
            return
        began = time.perf_counter()
        self.said[some] = self._matcher.score(self._pairs.take(some)).log_odds - self._threshold
        self.known[some] = True
        self.seconds += time.perf_counter() - began


def _least_sure(log_odds: np.ndarray) -> np.ndarray:
    """Pairs, the least sure first. (m,)"""
    return np.argsort(np.abs(log_odds), kind="stable")


def _to_begin_with(alike: Similarities) -> np.ndarray:
    """Pairs in turn: the most similar ones, and any. (m,)"""
    similar = np.argsort(-alike.values[:, alike.names.index("characters")], kind="stable")
    anyone = np.random.default_rng(0).permutation(len(similar))
    both = np.stack([similar, anyone], axis=1).ravel()
    return both[np.sort(np.unique(both, return_index=True)[1])]
