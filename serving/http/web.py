"""What services have in common: a queue of computations, figures, refusals as JSON, and what operators ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from features.errors import InputError
from serving.http.answers import Problems
from serving.http.bounded_body import BoundedRoute
from serving.http.compute import Busy, ComputeQueue, Late
from serving.http.config import ServiceConfig
from serving.http.documentation import documentation_routes
from serving.http.examples import Examples
from serving.http.metrics import CONTENT_TYPE, Figures
from serving.http.observed import Observed
from serving.http.problems import problems_of
from serving.http.signposts import nowhere, otherwise, signposts

#: what any route may answer to a request that cannot be used, or not now
REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problems, "description": "The body is too large."},
    422: {"model": Problems, "description": "A field cannot be used; the answer names it."},
    429: {"model": Problems, "description": "Too many requests wait; Retry-After says when to ask again, in seconds."},
    503: {"model": Problems, "description": "The request has waited for too long, and was not computed."},
}


def service(
    title: str,
    description: str,
    ask_one: Callable[[], Any],
    identity: Callable[[], dict[str, Any]],
    config: ServiceConfig,
    examples: Callable[[], Examples],
    beside: Callable[[FastAPI], contextlib.AbstractContextManager[Any]] | None = None,
) -> FastAPI:
    """An application without routes but those that say how it does.

    Args:
        title: What it is.
        description: For its documentation.
        ask_one: Asks it something, to see whether it answers.
        identity: Names what answers now, as answers do.
        config: How it is run.
        examples: Bodies for its documentation, that work with what answers now.
        beside: What goes on beside it while it runs, entered and left in a thread.
    """

    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        stack = contextlib.ExitStack()
        if beside is not None:
            await asyncio.to_thread(stack.enter_context, beside(app))
        try:
            yield
        finally:
            await asyncio.to_thread(app.state.compute.close)  # before what its computations use
            await asyncio.to_thread(stack.close)

    told: dict[str, Any] = {"title": title, "description": description, "version": version("recsys-unified")}
    app = FastAPI(**told, lifespan=running, openapi_url=None)  # which has pages of its own
    app.state.config, app.state.figures = config, Figures()
    app.state.compute = ComputeQueue(config.threads, config.most_waiting, config.most_seconds)
    app.state.compute.watch = app.state.figures
    app.state.draining = False
    app.include_router(signposts(identity))
    app.include_router(_operation(ask_one))
    app.include_router(documentation_routes(examples))
    # starlette's types want handlers of all errors
    handlers: dict[type[Exception] | int, Any] = {
        InputError: _refused, RequestValidationError: _invalid, Busy: _busy, Late: _late, 404: nowhere, 405: otherwise,
    }  # fmt: skip
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)
    if config.cors:
        app.add_middleware(CORSMiddleware, allow_origins=list(config.cors), allow_methods=["GET", "POST"],
                           allow_headers=["content-type", "x-request-id"])  # fmt: skip
    app.add_middleware(Observed, figures=app.state.figures, log_requests=config.log_requests)
    return app


def _operation(ask_one: Callable[[], Any]) -> APIRouter:
    router = APIRouter(route_class=BoundedRoute, tags=["operation"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @router.get("/readyz", responses={503: {"model": Problems, "description": "No model answers, or not for long."}})
    async def readyz(request: Request) -> dict[str, str]:
        """A model is loaded and answers: one is asked. Not so while the service ends, or while too much waits."""
        if request.app.state.draining:
            raise HTTPException(503, "the service ends")
        try:
            await computed(request, ask_one)
        except Busy:
            raise
        except Exception as error:
            raise HTTPException(503, "the model does not answer") from error
        return {"status": "ready"}

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics(request: Request) -> Response:
        """Figures as Prometheus reads them."""
        return Response(await asyncio.to_thread(request.app.state.figures.text), headers={"content-type": CONTENT_TYPE})

    return router


async def computed(request: Request, ask: Callable[[], Any], size: int = 1) -> Any:
    """Runs what takes long in a thread, so that other requests are read and answered meanwhile.

    Args:
        request: Which is answered.
        ask: Runs in a thread.
        size: How many users it is for.

    Raises:
        Busy: Too much waits already.
        Late: It has waited for too long.
    """
    return await request.app.state.compute.alone(ask, size)


def answer(content: Any) -> Response:
    """Content as JSON."""
    return Response(to_json(content, inf_nan_mode="null"), media_type="application/json")


async def _refused(request: Request, error: InputError) -> JSONResponse:
    """Input that only the catalogue could judge."""
    place = ["body", *getattr(error, "field", ())]
    return JSONResponse({"detail": [{"loc": place, "msg": str(error), "type": "value_error"}]}, 422)


async def _busy(request: Request, error: Busy) -> JSONResponse:
    request.app.state.figures.refused("busy")
    return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(error.seconds)})


async def _late(request: Request, error: Late) -> JSONResponse:
    request.app.state.figures.refused("late")
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "1"})


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """What pydantic found."""
    body = getattr(request.scope.get("route"), "body_field", None)
    shape = None if body is None else body.field_info.annotation
    return JSONResponse({"detail": problems_of(error.errors(), shape)}, 422)
