"""Every request has an id, is counted, and may be a line of the log; one that fails is one in any case."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.http.metrics import Figures
from serving.log import LOG, tell

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
Message = MutableMapping[str, Any]

_FAILED = b'{"detail":"the service has failed at this request; its log says why, by the X-Request-ID of this answer"}'
_FAILED_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_FAILED)).encode())]


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
        began, status, answering = time.perf_counter(), 500, False
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        told = given if _ID.fullmatch(given) else os.urandom(8).hex().encode()
        scope.setdefault("state", {})["request_id"] = told.decode()

        async def observed(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                status, answering = message["status"], True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", told)]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception:
            LOG.exception("request_failed", extra={"told": {"request_id": told.decode(), "route": _route(scope)}})
            if answering:  # half an answer must not look like a whole one
                raise
            await observed({"type": "http.response.start", "status": 500, "headers": _FAILED_HEADERS})
            await send({"type": "http.response.body", "body": _FAILED})
        finally:
            seconds = time.perf_counter() - began
            self._figures.request(_route(scope), status, seconds)
            if self._log:
                tell("request", request_id=told.decode(), route=_route(scope), status=status, seconds=round(seconds, 6))


def _route(scope: Message) -> str:
    """What nobody has declared is one route: names that clients make up must not become figures."""
    return getattr(scope.get("route"), "path", "other")
