"""Request bodies that cannot hurt: of limited size, read within a limited time, and JSON in the strict sense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

MAX_BYTES = 2 << 20
MAX_SECONDS = 20.0
#: for how long the rest of a body that is too large is read and thrown away; a client that is still sending would
#: otherwise see its connection reset, and not the answer
_DRAIN_SECONDS = 3.0


class BoundedRequest(Request):
    """A request whose body is counted while it arrives, because a chunked one does not say how long it is."""

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            HTTPException: 413 where it is too large, 408 where it does not arrive in time.
        """
        if not hasattr(self, "_body"):
            declared = self.headers.get("content-length", "")
            if declared.isdecimal() and int(declared[:20]) > MAX_BYTES:
                if "expect" not in self.headers:  # who asks first has not sent anything
                    await self._drain()
                raise _too_large()
            try:
                async with asyncio.timeout(MAX_SECONDS):
                    self._body = await self._read()
            except TimeoutError:
                message = f"the request body did not arrive within {MAX_SECONDS:g} seconds"
                raise HTTPException(408, message, headers={"Connection": "close"}) from None
        return self._body

    async def _read(self) -> bytes:
        chunks: list[bytes] = []
        length, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
            length, more = length + len(chunks[-1]), message.get("more_body", False)
            if length > MAX_BYTES:
                if more:
                    await self._drain()
                raise _too_large()
        return b"".join(chunks)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while (await self.receive()).get("more_body"):
                    pass
        except TimeoutError:
            return

    async def json(self) -> Any:
        """The body as JSON.

        Python's own parser takes half a surrogate pair, which then cannot be written into an answer, and gives up on
        deep nesting and long numbers with errors of its own; this one refuses all of them alike. NaN is let through,
        so that the answer can name its field: no field takes it.

        Raises:
            JSONDecodeError: FastAPI answers 422 with it.
        """
        try:
            return from_json(await self.body())
        except ValueError as error:
            raise json.JSONDecodeError(" ".join(str(error).split()), "", 0) from None


class BoundedRoute(APIRoute):
    """A route whose requests are `BoundedRequest`s."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given another class of request."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if _has_body(request) and kind != "application/json" and not kind.endswith("+json"):
                message = f"the body is JSON, so its content-type is application/json, not {kind[:100]!r}"
                problem = {"loc": ["header", "content-type"], "msg": message, "type": "value_error"}
                return JSONResponse({"detail": [problem]}, 422)
            return await handler(BoundedRequest(request.scope, request.receive))

        return bounded


def _has_body(request: Request) -> bool:
    """Whether something follows the head; where a route needs it, it is missed by name."""
    told = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    return told and request.method in ("POST", "DELETE")


def _too_large() -> HTTPException:
    # what is left of the body is not read, so the connection is of no more use
    message = f"the request body is larger than {MAX_BYTES} bytes"
    return HTTPException(413, message, headers={"Connection": "close"})
