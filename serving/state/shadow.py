"""A challenger answers the same requests, for nobody to see; what differs is counted."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from serving.lists.recommendations import Recommendations
from serving.state.background_queue import BackgroundQueue

if TYPE_CHECKING:
    from serving.candidates import CandidateGenerator


@dataclass(frozen=True)
class ShadowFigures:
    """What is known of a challenger so far.

    Args:
        asked: Requests that it has answered.
        users: Lists that were compared.
        dropped: Requests that were sampled, and came faster than it answers.
        failed: Requests that it could not answer.
        overlap: By k, the mean share of a list's first k items that the challenger's first k hold too, over lists of k
            items or more; a share of the longer list where the other is shorter.
        seconds: How long an answer takes it, on average.
        problem: Why the last failed request failed.
    """

    asked: int
    users: int
    dropped: int
    failed: int
    overlap: dict[int, float]
    seconds: float | None
    problem: str | None


class Shadow:
    """Asks a challenger, in a thread of its own, and never keeps anybody waiting. Safe to share between threads.

    Args:
        challenger: Another generator.
        share: Of requests that it is asked, from 0 to 1.
        at: The list lengths that overlaps are measured at.
        most: How many requests may wait for it; more are dropped.
        seed: Of the sampling.

    Raises:
        InputError: A share that is none, or no lengths.
    """

    def __init__(
        self,
        challenger: CandidateGenerator,
        share: float = 0.1,
        at: Sequence[int] = (1, 5, 10, 100),
        most: int = 64,
        seed: int | None = None,
    ) -> None:
        if not 0 <= share <= 1:
            raise InputError(f"a shadow's share of requests is from 0 to 1, got {share}")
        if not at or min(at) < 1:
            raise InputError(f"a shadow's lists are compared at lengths of 1 and more, got {list(at)}")
        self.challenger = challenger
        self._share, self._at = share, tuple(dict.fromkeys(at))
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._asked = self._users = self._failed = 0
        self._sums, self._counts = dict.fromkeys(self._at, 0.0), dict.fromkeys(self._at, 0)
        self._seconds = 0.0
        self._problem: str | None = None
        #: told the figures after each request that it was asked
        self.after: Callable[[ShadowFigures], None] = lambda figures: None
        #: told why, after each request that it could not answer
        self.failed: Callable[[str], None] = lambda problem: None
        self._queue = BackgroundQueue("shadow", self._ask, most)
        self._queue.after_failure = self._tell

    def offer(self, arguments: Mapping[str, Any], answer: Recommendations) -> bool:
        """Lets the challenger answer a request too, if it is sampled.

        Args:
            arguments: What `CandidateGenerator.recommend` was given, by name, histories as they were extended: both
                answer from the same. They are not to be changed afterwards.
            answer: What it answered.

        Returns:
            Whether the challenger will be asked.
        """
        with self._lock:
            sampled = self._random.random() < self._share
        return sampled and self._queue.offer((arguments, answer))

    @property
    def figures(self) -> ShadowFigures:
        """What is known so far."""
        with self._lock:
            overlap = {k: self._sums[k] / self._counts[k] for k in self._at if self._counts[k]}
            seconds = self._seconds / self._asked if self._asked else None
            return ShadowFigures(
                self._asked, self._users, self._queue.dropped, self._failed, overlap, seconds, self._problem
            )

    def close(self, timeout: float = 10.0) -> bool:
        """Lets it answer what waits, and asks it nothing more; whether all was done in time."""
        return self._queue.close(timeout)

    def _tell(self, problem: str) -> None:
        self.failed(problem)  # whoever is told by then

    def _ask(self, job: tuple[Mapping[str, Any], Recommendations]) -> None:
        self._compared(job)
        self.after(self.figures)

    def _compared(self, job: tuple[Mapping[str, Any], Recommendations]) -> None:
        arguments, answer = job
        start = time.perf_counter()
        try:
            other = self.challenger.recommend(**arguments)
        except Exception as error:  # whatever it is, the champion has answered
            with self._lock:
                self._failed += 1
                self._problem = problem = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self.failed(problem)
            return
        taken = time.perf_counter() - start
        with self._lock:
            self._asked, self._users, self._seconds = self._asked + 1, self._users + len(answer), self._seconds + taken
            lists: Sequence[Sequence[str | int]] = answer.item_ids
            others: Sequence[Sequence[str | int]] = other.item_ids
            for mine, theirs in zip(lists, others, strict=True):
                self._compare(list(map(str, mine)), list(map(str, theirs)))

    def _compare(self, mine: list[str], theirs: list[str]) -> None:
        for k in self._at:
            longer = max(len(mine), len(theirs))
            if longer >= k:
                self._sums[k] += len({*mine[:k]} & {*theirs[:k]}) / k
                self._counts[k] += 1
