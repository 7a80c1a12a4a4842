"""What a service keeps while it runs: events that extend histories, a log of what was shown, a shadowed challenger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from serving.state.events import EventStore
from serving.state.extending import extended
from serving.state.impressions import ImpressionLog
from serving.state.shadow import Shadow

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator
    from serving.lists.recommendations import Recommendations


@dataclass
class OnlineState:
    """Each of them, where it is wanted.

    Args:
        events: What users have done since a model was built.
        impressions: Where answers are noted.
        shadow: A challenger that is asked some of the requests too.
        degraded: Told what an answer had to do without: "events", "impressions".
    """

    events: EventStore | None = None
    impressions: ImpressionLog | None = None
    shadow: Shadow | None = None
    degraded: Callable[[str], None] = lambda what: None

    def watch(
        self,
        degraded: Callable[[str], None],
        tell: Callable[[str, str], None],
        trimmed: Callable[[int], None] = lambda many: None,
    ) -> None:
        """Lets somebody know of what goes wrong beside answering, where no answer says it.

        Args:
            degraded: As above; told of impressions that are lost later, too.
            tell: Told the first problem of each kind, and what it is of: "impressions", "shadow".
            trimmed: Told how many acknowledged events have been discarded.
        """
        self.degraded, told = degraded, set()

        def failed(what: str, problem: str) -> None:
            if what not in told:
                told.add(what)
                tell(what, problem)
            if what == "impressions":  # a shadow has figures of its own, and no answer did without it
                degraded(what)

        if self.events is not None:
            self.events.after_trim = trimmed
        if self.impressions is not None:
            self.impressions.failed = partial(failed, "impressions")
        if self.shadow is not None:
            self.shadow.failed = partial(failed, "shadow")

    def recommend(
        self,
        generator: CandidateGenerator,
        user_ids: Sequence[Any] | None,
        histories: Sequence[Any] | None,
        history_times: Sequence[Any] | None = None,
        **how: Any,
    ) -> Recommendations:
        """What a generator answers to histories with the events that have come since.

        Args:
            generator: Which answers.
            user_ids: As `CandidateGenerator.recommend` takes them. (B,)
            histories: Likewise. (B,)
            history_times: Likewise. (B,)
            how: Its other arguments.
        """
        more = extended(generator, self.events, user_ids, histories, history_times)
        if more.away is not None:
            self.degraded("events")
        asked = {**how, "user_ids": user_ids, "histories": more.histories, "seen": more.seen}
        if more.history_times is not None:
            asked["history_times"] = more.history_times
        found = generator.recommend(**asked)
        if self.shadow is not None:
            self.shadow.offer(asked, found)
        return found

    def note(self, request_id: str, generator: CandidateGenerator, answer: Recommendations) -> None:
        """Notes what a request was answered."""
        if self.impressions is not None and not self.impressions.put(request_id, generator.identity, answer):
            self.degraded("impressions")

    def close(self) -> None:
        """Ends all of it; what is not written yet is written."""
        for one in (self.shadow, self.impressions, self.events):
            if one is not None:
                one.close()
