"""What services have in common: threads that compute, refusals as JSON, and a port."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from features.errors import InputError
from serving.http.answers import Problems
from serving.http.bounded_body import BoundedRoute

#: what any route may answer to a request that cannot be used
REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problems, "description": "The body is too large."},
    422: {"model": Problems, "description": "A field cannot be used; the answer names it."},
}


def service(title: str, version: str, description: str, threads: int, ask_one: Callable[[], Any]) -> FastAPI:
    """An application without routes but those that say whether it lives and answers.

    Args:
        title: What it is.
        version: Of what answers.
        description: For its documentation.
        threads: How many requests are computed at a time; 0 takes the number of processors.
        ask_one: Asks it something, to see whether it answers.
    """
    app = FastAPI(title=title, version=version, description=description)
    # more threads than processors would only make all of them slower
    app.state.threads = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="ranking")
    router = APIRouter(route_class=BoundedRoute)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @router.get("/readyz", responses={503: {"model": Problems, "description": "No model answers."}})
    async def readyz(request: Request) -> dict[str, str]:
        """A model is loaded and answers: one is asked."""
        try:
            await computed(request, ask_one)
        except Exception as error:
            raise HTTPException(503, "the model does not answer") from error
        return {"status": "ready"}

    app.include_router(router)
    app.add_exception_handler(InputError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


async def computed(request: Request, ask: Callable[[], Any]) -> Any:
    """Runs what takes long in a thread, so that other requests are read and answered meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(request.app.state.threads, ask)


async def _refused(request: Request, error: InputError) -> JSONResponse:
    """Input that only the catalogue could judge."""
    place = ["body", *getattr(error, "field", ())]
    return JSONResponse({"detail": [{"loc": place, "msg": str(error), "type": "value_error"}]}, 422)


_ALTERNATIVES = {"constrained-str", "str", "int", "float", "constrained-float", "bool", "none"}


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """What pydantic found. The input is not sent back: it may be large, or not be JSON at all."""
    problems = []
    for one in error.errors()[:20]:
        why = f": {one['ctx']['error']}" if one["type"] == "json_invalid" else ""
        # the alternatives of a union are pydantic's own affair
        place = [part for part in one["loc"] if part not in _ALTERNATIVES and not str(part).startswith("list[")]
        problems.append({"loc": place, "msg": one["msg"] + why, "type": one["type"]})
    return JSONResponse({"detail": problems}, 422)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: The port cannot be listened at.
    """
    # The protocol is named, because asyncio turns Nagle's algorithm off only where it is; with it every answer that
    # follows another on the same connection would wait 40 ms for an acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"cannot listen at {host} port {port}: {getattr(error, 'strerror', None) or error}") from error
    return listener


def run(app: FastAPI, listener: socket.socket, host: str, what: object) -> None:
    """Answers requests until it is stopped.

    Args:
        app: The application.
        listener: What `listen` gave.
        host: What it was given.
        what: Who answers, for people.
    """
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", timeout_keep_alive=30, timeout_graceful_shutdown=10)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    print(f"{what} at {address} (documentation: {address}/docs)", file=sys.stderr, flush=True)
    uvicorn.Server(config).run(sockets=[listener])
