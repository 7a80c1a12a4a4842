"""What says of pairs of records how likely they are the same: a matcher, or the data alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from features.record_pairs import RecordPairs
from recsys.matching.self_training import SelfTrained, self_trained
from recsys.matching.similarities import Comparison
from recsys.matching.targets import Candidacies

if TYPE_CHECKING:  # which loads torch, and the data can speak without it
    from serving.matching.matcher import Matcher


@dataclass(frozen=True)
class Stage:
    """What one stage did.

    Args:
        name: Of the stage.
        pairs: That it decided about.
        same: Of them, how many it called the same.
        seconds: It took.
    """

    name: str
    pairs: int
    same: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Judged:
    """What is said of m pairs.

    Args:
        log_odds: Less the threshold: at least 0 is called the same. (m,) float64
        stages: Who said it.
    """

    log_odds: np.ndarray
    stages: tuple[Stage, ...]


#: called with how many pairs are judged, and how many there are
Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """No progress is shown."""


class Judge(Protocol):
    """Says of pairs how likely they are the same."""

    #: whether what it says of a pair does not depend on the others that it is asked about
    lasting: bool

    def judge(self, pairs: RecordPairs, progress: Progress = silent) -> Judged:
        """(m pairs)"""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What it is, as JSON has it."""
        ...


class MatcherJudge:
    """A matcher judges every pair.

    Args:
        matcher: Which.
        precision: Wanted: see `serving.matching.matcher.Matcher.decision`.
        threshold: In log-odds; that of the precision, where not given.
    """

    lasting = True

    def __init__(self, matcher: Matcher, precision: float | None = None, threshold: float | None = None) -> None:
        self.matcher = matcher
        self.threshold = matcher.threshold(precision) if threshold is None else threshold

    def judge(self, pairs: RecordPairs, progress: Progress = silent) -> Judged:
        """(m pairs)"""
        began = time.perf_counter()
        found = self.matcher.score(pairs, progress=progress).log_odds - self.threshold
        return Judged(found, (Stage("matcher", len(found), int((found >= 0).sum()), time.perf_counter() - began),))

    @property
    def settings(self) -> dict[str, Any]:
        """Which matcher, and its threshold."""
        return {"kind": "matcher", "matcher": self.matcher.identity, "threshold": self.threshold}


class SelfTrainedJudge:
    """The data say it by themselves: see `recsys.matching.self_training`.

    Args:
        comparison: Of the records.
        learned: What was learned before; where not given, it is learned from the first pairs that are judged.
        strangers: Candidates inside sources without duplicates, which are never the same.
        source: A number for the source of each record, where pairs are of one table of several sources. (n,)
        several: Whether a thing may have several records in one source.
        each_alone: Whether each pair is judged by itself: see `recsys.matching.self_training.SelfTrained.log_odds`.
    """

    lasting = False

    def __init__(
        self,
        comparison: Comparison,
        learned: SelfTrained | None = None,
        strangers: RecordPairs | None = None,
        source: np.ndarray | None = None,
        several: bool = False,
        each_alone: bool = False,
    ) -> None:
        self._comparison, self.learned, self._strangers = comparison, learned, strangers
        self._source, self._several, self._each_alone = source, several, each_alone

    def judge(self, pairs: RecordPairs, progress: Progress = silent) -> Judged:
        """All candidates of a record are wanted together. (m pairs)"""
        began = time.perf_counter()
        candidacies = Candidacies.of(pairs, self._source, self._several)
        alike = self._comparison.similarities(pairs)
        if self.learned is None:
            strangers, known = self._strangers, None
            if strangers is not None:
                known = Candidacies.of(strangers, self._source), self._comparison.similarities(strangers)
            self.learned = self_trained(candidacies, alike, known)
        found = self.learned.log_odds(candidacies, alike, self._each_alone) - self.learned.threshold
        progress(len(pairs), len(pairs))
        stage = Stage("similarities", len(found), int((found >= 0).sum()), time.perf_counter() - began)
        return Judged(found, (stage,))

    @property
    def settings(self) -> dict[str, Any]:
        """What was learned."""
        return {"kind": "self-trained", "learned": None if self.learned is None else self.learned.to_json()}
