"""Every request has an id, is counted, and may be a line of the log."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from serving.http.metrics import Figures

LOG = logging.getLogger("recsys.serving")
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
Message = MutableMapping[str, Any]


class Observed:
    """ASGI middleware.

    Args:
        app: What answers.
        figures: Where requests are counted.
        log_requests: Whether each is a line of the log.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], figures: Figures, log_requests: bool = False) -> None:
        self._app, self._figures, self._log = app, figures, log_requests

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        told = given if _ID.fullmatch(given) else os.urandom(8).hex().encode()
        scope.setdefault("state", {})["request_id"] = told.decode()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", told)]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            # what nobody has declared is one route: names that clients make up must not become figures
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - began
            self._figures.request(route, status, seconds)
            if self._log:
                LOG.info("request", extra={"told": {"request_id": told.decode(), "route": route, "status": status,
                                                    "seconds": round(seconds, 6)}})  # fmt: skip


def tell(event: str, level: int = logging.INFO, **told: Any) -> None:
    """A line of the log about the service itself."""
    LOG.log(level, event, extra={"told": told})


class _Line(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "pid": record.process,
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stderr() -> None:
    """Writes the log as JSON lines, for a service that is a process; who embeds it has a log of its own."""
    if not LOG.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Line())
        LOG.addHandler(handler)
        LOG.setLevel(logging.INFO)
        LOG.propagate = False
