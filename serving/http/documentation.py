"""What the service takes and gives, for programs and for people: /openapi.json, and a page that is made of it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from serving.http.bounded_body import BoundedRoute
from serving.http.content_policy import policy
from serving.http.documentation_page import page_of
from serving.http.examples import Examples


def documentation_routes(examples: Callable[[], Examples]) -> APIRouter:
    """The routes.

    Args:
        examples: Bodies that work with what answers now, by the names of their shapes; asked in a thread.
    """
    router = APIRouter(route_class=BoundedRoute, include_in_schema=False)

    def document(request: Request) -> dict[str, Any]:
        told = copy.deepcopy(request.app.openapi())
        shapes = told["components"]["schemas"]
        for name, some in examples().items():
            if name in shapes:
                shapes[name]["examples"] = some
        return told

    @router.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        return Response(to_json(await asyncio.to_thread(document, request)), media_type="application/json")

    # Swagger's own page, which FastAPI would offer, is a few lines that load a program from another server: behind a
    # firewall it stays empty, and outside of one the program is where people type their token.
    @router.get("/docs")
    async def page(request: Request) -> Response:
        html = page_of(await asyncio.to_thread(document, request), str(request.base_url).rstrip("/"))
        headers = {
            "content-security-policy": policy(html),
            "cache-control": "no-cache",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }
        return Response(html, media_type="text/html", headers=headers)

    return router
