"""Another version takes over while the service answers: found, loaded aside, checked, warmed, and swapped in at once.

Requests take one reference to the generator, so that a list never comes from two versions. Whatever fails leaves the
version that answers in its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from features.errors import InputError
from serving.candidates import CandidateGenerator
from serving.log import LOG
from serving.naming import Resolved, Unfetched
from serving.setbacks import Setback, lasts
from serving.summons import Summons

#: how often new items of other processes are looked for, where no version is
_REFRESH_SECONDS = 5.0
#: how often a process listens whether another one has been told to look
_LISTEN_SECONDS = 0.5

Outcome = Literal["unchanged", "swapped", "refused", "failed", "unasked"]


class Live:
    """What answers now.

    Args:
        generator: Which answers first.
    """

    def __init__(self, generator: CandidateGenerator) -> None:
        #: whoever answers takes it once
        self.generator = generator


@dataclass(frozen=True)
class Look:
    """What became of a look at the registry.

    Args:
        outcome: "unchanged"; "swapped"; "refused" by a check; "failed" to load; "unasked", as the registry did not
            answer.
        version: Which the registry names.
        why: What was wrong, if anything.
    """

    outcome: Outcome
    version: str | None = None
    why: str | None = None


class Reloader:
    """Looks at the registry every few seconds, in a thread of its own.

    Args:
        live: What answers.
        find: Says which version is to be served; downloads it where it is elsewhere, unless it is held: given is the
            id of a logged model that is not to be downloaded now.
        load: Loads one, and makes it ready for the first request.
        check: Says what is wrong with another generator in the place of the one that answers.
        seconds: Between two looks; 0 looks only when `look` is called. What other processes take in is seen as often.
        settle: Called when one has been loaded or let go: see `serving.settling`.
        close: Called at the end; interrupts `find`, which a registry may hold for minutes.
        summons: Has the service's other processes look, too.
    """

    def __init__(
        self,
        live: Live,
        find: Callable[[str | None], Resolved],
        load: Callable[[Resolved], CandidateGenerator],
        check: Callable[[CandidateGenerator, CandidateGenerator], list[str]],
        seconds: float = 5.0,
        settle: Callable[[], None] = lambda: None,
        close: Callable[[], None] = lambda: None,
        summons: Summons | None = None,
    ) -> None:
        self.live, self._find, self._load, self._check = live, find, load, check
        #: told of every look, with what answered before and what would answer after: the same, or the other version
        self.after: list[Callable[[Look, CandidateGenerator, CandidateGenerator], None]] = []
        self._seconds, self._settle, self._close = seconds, settle, close
        self._summons = summons or Summons()
        self._looking, self._stop = threading.Lock(), threading.Event()
        self._setback: Setback | None = None
        self._noticed: str | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Reloader:
        self._thread = threading.Thread(target=self._watch, name="reloading", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._close()
        if self._thread is not None:
            self._thread.join(timeout=5)

    @property
    def looking(self) -> bool:
        """Whether a look is under way."""
        return self._looking.locked()

    def look(self, again: bool = True) -> Look:
        """Looks now, and swaps if there is another version.

        Args:
            again: Tries a version that did not take over once more, and not only when it is time.
        """
        with self._looking:
            look = self._look(again)
        self.refresh()  # what came while one was loaded, or what other processes have taken in
        return look

    def look_everywhere(self) -> Look:
        """Looks now, and has all other processes of the service look as well."""
        self._summons.call()
        return self.look()

    def _watch(self) -> None:
        unsettled, every = False, self._seconds or _REFRESH_SECONDS
        self.refresh()
        due = time.monotonic() + every
        while not self._stop.wait(min(every, _LISTEN_SECONDS) if self._summons.shared else every):
            called = self._summons.heard()
            if not called and time.monotonic() < due:
                continue
            due = time.monotonic() + every
            if unsettled:  # by now, nobody is answered by the old one any more
                self._settle()
                unsettled = False
            try:
                if self._seconds or called:
                    unsettled = self.look(again=called).outcome in ("swapped", "refused", "failed")
                else:
                    self.refresh()
            except Exception:  # the thread must live: without it no version would ever follow
                LOG.exception("reload_failed")

    def refresh(self) -> None:
        """Takes in items that were kept, or that other processes have taken in."""
        items = self.live.generator.new_items
        try:
            items.refresh()
            if items.notice != self._noticed:
                LOG.warning("new_items", extra={"told": {"left_out": items.notice}})
                self._noticed = items.notice
        except Exception:  # likewise
            LOG.exception("new_items_failed")

    def _look(self, again: bool) -> Look:
        old = new = self.live.generator
        before = self._setback
        waiting = before if before is not None and before.waits and not again else None
        error: Exception | None = None
        try:
            found = self._find(None if waiting is None else waiting.version.model_id)
        except Unfetched as unfetched:
            found, error = unfetched.named, unfetched
        except InputError as unasked:
            return self._told(Look("unasked", None, str(unasked)), old, new)
        if found.is_same(old.resolved):
            self._setback = None  # the alias has come back: should it leave again, that is another try
            return self._told(Look("unchanged", found.version), old, new)
        if waiting is not None and found.is_same(waiting.version):
            return self._told(Look("unchanged", found.version), old, new)
        try:
            if error is not None:
                raise error
            new = self._load(found)
            if wrong := self._check(old, new):
                self._setback = Setback.of(found, True, before)
                return self._told(Look("refused", found.version, "; ".join(wrong)), old, new)
        except Exception as failed:
            self._setback = setback = Setback.of(found, lasts(failed), before)
            why = " ".join(str(failed).split())[:500] or type(failed).__name__
            why += "" if setback.seconds is None else f"; it is tried again in {setback.seconds:g} seconds"
            return self._told(Look("failed", found.version, why), old, new)
        self.live.generator, self._setback = new, None
        return self._told(Look("swapped", found.version), old, new)

    def _told(self, look: Look, old: CandidateGenerator, new: CandidateGenerator) -> Look:
        for tell in self.after:
            tell(look, old, new)
        return look
