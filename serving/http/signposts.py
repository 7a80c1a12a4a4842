"""Where there is something: what answers at /, and what whoever asks for a path that is not there is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from serving.http.bounded_body import BoundedRoute

#: of a path that somebody has made up, so much is repeated
_LONGEST = 100


def signposts(identity: Callable[[], dict[str, Any]]) -> APIRouter:
    """GET /: what this is, and where to read on.

    Args:
        identity: What answers now, as answers name it.
    """
    router = APIRouter(route_class=BoundedRoute, tags=["operation"])

    @router.get("/")
    async def here(request: Request) -> dict[str, Any]:
        """What is served, and where its documentation is."""
        root = request.scope.get("root_path", "")
        told = {"service": request.app.title, **identity(), "docs": f"{root}/docs", "openapi": f"{root}/openapi.json"}
        return told | ({"ui": f"{root}/ui"} if request.app.state.config.ui else {})

    return router


async def nowhere(request: Request, error: HTTPException) -> Response:
    """A path that is not there names those that are; what a route itself does not find is told as it says."""
    if request.scope.get("route") is not None:
        return await http_exception_handler(request, error)
    paths = (await asyncio.to_thread(request.app.openapi))["paths"]  # made once, which takes a moment
    routes = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    routes += ["GET /docs", *(["GET /ui"] if request.app.state.config.ui else [])]
    path = request.url.path[:_LONGEST]
    return JSONResponse(
        {"detail": f"there is nothing at {path}; there are {', '.join(sorted(routes, key=_path))}"}, 404
    )


async def otherwise(request: Request, error: HTTPException) -> Response:
    """A path that is asked in a way it does not answer names those that it does."""
    asked = request.url.path.removeprefix(request.scope.get("root_path", ""))
    paths = (await asyncio.to_thread(request.app.openapi))["paths"]
    listed = {one.upper() for path, methods in paths.items() if compile_path(path)[0].match(asked) for one in methods}
    # the error's own are of one route of the path; the pages are not listed
    allowed = sorted(listed | set(Headers(error.headers).get("allow", "").split(", ")))
    detail = f"{request.url.path[:_LONGEST]} answers {' and '.join(allowed)}, not {request.method[:_LONGEST]}"
    return JSONResponse({"detail": detail}, 405, {"allow": ", ".join(allowed)})


def _path(route: str) -> str:
    return route.partition(" ")[2]
