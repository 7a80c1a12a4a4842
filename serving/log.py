"""The log of a service: JSON lines on standard error, of all that its processes say, and of errors nobody caught."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

LOG = logging.getLogger("recsys.serving")


def tell(event: str, level: int = logging.INFO, **told: Any) -> None:
    """A line of the log about the service itself."""
    LOG.log(level, event, extra={"told": told})


class JsonLine(logging.Formatter):
    """A JSON object a line. What libraries say is the event "message", with the name of their logger."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        own = record.name == LOG.name
        said = " ".join(record.getMessage().split())
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": said if own else "message",
            "pid": record.process,
            **({} if own else {"logger": record.name, "message": said}),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stderr() -> Callable[[], None]:
    """Writes the log, for a service that is a process: who embeds it has a log, and ways with errors, of its own.

    Returns:
        Puts everything back.
    """
    root = logging.getLogger()
    if any(isinstance(one.formatter, JsonLine) for one in root.handlers):
        return lambda: None
    hooks, level = (sys.excepthook, threading.excepthook, sys.unraisablehook), LOG.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine())
    root.addHandler(handler)
    LOG.setLevel(logging.INFO)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda one: _uncaught(one.exc_type, one.exc_value, one.exc_traceback, one.thread)
    sys.unraisablehook = lambda one: _uncaught(one.exc_type, one.exc_value, one.exc_traceback)

    def undo() -> None:
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(False)
        LOG.setLevel(level)
        root.removeHandler(handler)

    return undo


def _uncaught(
    kind: type[BaseException],
    error: BaseException | None,
    at: TracebackType | None,
    thread: threading.Thread | None = None,
) -> None:
    if thread is not None and issubclass(kind, SystemExit):  # which ends a thread in silence
        return
    told = {} if thread is None else {"thread": thread.name}
    LOG.critical("uncaught", exc_info=None if error is None else (kind, error, at), extra={"told": told})
