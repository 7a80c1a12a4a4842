"""New items over HTTP: taken in and out again while the service answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException, Request, Response

from features.errors import InputError
from serving.http.answers import NewItemsAnswer, Problems
from serving.http.authority import UNAUTHORISED, token_router
from serving.http.requests import GoneItemsRequest, NewItemsRequest
from serving.http.web import REFUSALS, answer

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator
    from serving.lists.new_items import NewItems


def item_routes() -> APIRouter:
    """The routes; the application's state holds the generator."""
    router = token_router("new items")
    # a language model reads one request's items after the other's, and never where the others are answered
    reading = ThreadPoolExecutor(1, thread_name_prefix="reading")
    answers: dict[int | str, dict[str, Any]] = {
        **REFUSALS,
        **UNAUTHORISED,
        403: {"model": Problems, "description": "This service takes no new items, or none without a token."},
        503: {"model": Problems, "description": "Items cannot be read or kept here; the answer says why."},
    }

    async def changed(request: Request, change: Callable[[NewItems], int]) -> Response:
        generator: CandidateGenerator = request.app.state.live.generator
        if not generator.new_items.kept:
            raise HTTPException(403, "this service takes no new items; it was started without --new-items")
        try:
            n = await asyncio.get_running_loop().run_in_executor(reading, change, generator.new_items)
        except InputError as error:
            if hasattr(error, "field"):
                raise
            raise HTTPException(503, str(error)) from error  # nothing is wrong with the request
        now: CandidateGenerator = request.app.state.live.generator
        if now is not generator:  # another version has taken over meanwhile, and is to know it too
            await asyncio.get_running_loop().run_in_executor(reading, now.new_items.refresh)
        return answer({"model": generator.identity, "changed": n, "new_items": len(generator.new_items)})

    @router.post("/items", response_model=NewItemsAnswer, responses=answers)
    async def new_items(request: Request, body: NewItemsRequest) -> Response:
        """Takes in items that the model was built without; they are candidates from now on."""
        added = [(one.item_id, one.attributes) for one in body.items]
        return await changed(request, lambda items: items.add(added))

    @router.delete("/items", response_model=NewItemsAnswer, responses=answers)
    async def gone_items(request: Request, body: GoneItemsRequest) -> Response:
        """Takes new items out again; ids that are none of theirs are no error."""
        return await changed(request, lambda items: items.remove(body.item_ids))

    return router
