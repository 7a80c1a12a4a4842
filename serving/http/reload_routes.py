"""Another version, on request: the registry is looked at now, and not only when it is time."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException, Request, Response

from serving.http.answers import LookAnswer, Problems
from serving.http.authority import UNAUTHORISED, token_router
from serving.http.requests import NoBody
from serving.http.web import REFUSALS, answer

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.reload import Reloader


def reload_routes() -> APIRouter:
    """The route; the application's state holds what answers, and what swaps it, if anything does."""
    router = token_router("operation")
    answers: dict[int | str, dict[str, Any]] = {
        **REFUSALS,
        **UNAUTHORISED,
        409: {"model": Problems, "description": "There is nothing to follow, or it is being looked at already."},
    }

    @router.post("/admin/reload", response_model=LookAnswer, responses=answers)
    async def reload(request: Request, body: NoBody | None = None) -> Response:
        """Looks at the registry now, in all processes of the service; the one that was asked answers."""
        reloader: Reloader | None = request.app.state.reloader
        if reloader is None:
            raise HTTPException(409, "this service follows no registry: it serves a folder, or one version")
        if reloader.looking:
            raise HTTPException(409, "the registry is being looked at already")
        look = await asyncio.to_thread(reloader.look_everywhere)
        return answer({"model": request.app.state.live.generator.identity, **asdict(look)})

    return router
