"""A map that changes while it is served: its folder is looked at again and again, and a new version takes over at once.

The version is loaded aside, and asked something; whatever fails leaves the one that answers in its place, and is not
tried again until the folder names another one.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from features.entity_store import current_version
from features.errors import InputError
from serving.entities.finder import EntityFinder
from serving.http.metrics import Figures
from serving.log import LOG, tell
from serving.settling import settle


class MapFollower:
    """Looks which version a folder names; made before the one that answers first is loaded, so that none is missed.

    Args:
        folder: Of `recsys resolve`.
        load: Loads the version that is current now.
        seconds: Between two looks; 0 looks only when `look` is called.

    Raises:
        InputError: There is no map.
    """

    def __init__(self, folder: Path | str, load: Callable[[], EntityFinder], seconds: float = 5.0) -> None:
        self._folder, self._load, self._seconds = Path(folder), load, seconds
        self._name = current_version(self._folder)
        self._looking, self._stop = threading.Lock(), threading.Event()

    @contextlib.contextmanager
    def following(self, finder: EntityFinder, swap: Callable[[EntityFinder], None], figures: Figures) -> Iterator[None]:
        """Looks in a thread of its own, until the context ends.

        Args:
            finder: Which answers now.
            swap: Called with the one that is to answer from then on.
            figures: Where an operator learns of it.
        """
        self._live, self._swap, self._figures = finder, swap, figures
        thread = threading.Thread(target=self._watch, name="following", daemon=True)
        if self._seconds:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            if self._seconds:
                thread.join(timeout=5)

    def look(self) -> str:
        """Looks now; "unchanged", "swapped", "refused", "failed", or "unasked", where the folder cannot be read."""
        with self._looking:
            try:
                name = current_version(self._folder)
            except InputError as error:
                self._figures.unasked()
                return self._told("unasked", str(error))
            if name == self._name:
                return "unchanged"
            self._name = name
            return self._taken(name)

    def _taken(self, name: str) -> str:
        try:
            new = self._load()
            new.find([{}])
        except Exception as error:  # whatever it is, it is not tried again and again
            why = " ".join(str(error).split())[:500] or type(error).__name__
            self._figures.swap("failed")
            return self._told("failed", f"{name}: {why}")
        if gone := [one for one in self._live.attributes if one not in new.attributes]:
            self._figures.swap("refused")
            return self._told("refused", f"{name} tells nothing of {', '.join(gone)}, which requests do")
        self._live = new
        self._swap(new)
        self._figures.swap("swapped")
        settle()
        return self._told("swapped", None)

    def _told(self, outcome: str, why: str | None) -> str:
        level = logging.INFO if outcome == "swapped" else logging.WARNING
        tell("reload", level, outcome=outcome, version=self._live.entities.version, why=why)
        return outcome

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.look()
            except Exception:  # the thread must live: without it no version would ever follow
                LOG.exception("reload_failed")
