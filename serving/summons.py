"""A call that reaches all processes of a service, whichever of them somebody has asked."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

from serving.log import LOG

_FILE = "summons"


class Summons:
    """A file in the folder of the processes, which says something else after each call.

    Args:
        folder: Of all processes of the service; None of one that is alone, which nobody calls.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._heard = self._said()

    @property
    def shared(self) -> bool:
        """Whether there are others."""
        return self._folder is not None

    def call(self) -> None:
        """Calls all others. Who calls does not hear it."""
        if self._folder is None:
            return
        said = secrets.token_hex(8)
        part = self._folder / f"{_FILE}.{os.getpid()}"
        with self._lock:
            try:
                part.write_text(said, encoding="utf-8")
                part.replace(self._folder / _FILE)
                self._heard = said
            except OSError:  # a full disk: this process looks all the same
                LOG.exception("summons_failed")

    def heard(self) -> bool:
        """Whether somebody has called since this was asked last."""
        with self._lock:
            said = self._said()
            called, self._heard = said != self._heard, said
        return called

    def _said(self) -> str:
        if self._folder is None:
            return ""
        try:
            return (self._folder / _FILE).read_text(encoding="utf-8")
        except OSError:  # nobody has called yet, or the service ends
            return ""
