"""Events over HTTP: what users do between two builds, known to the next answer; and users to be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response

from serving.http.answers import Problems
from serving.http.authority import UNAUTHORISED, token_router
from serving.http.event_requests import EraseAnswer, EraseRequest, EventsAnswer, EventsRequest
from serving.http.web import REFUSALS, answer
from serving.state.carriers import carried_in
from serving.state.events import EventStore, StoreError
from serving.state.posted import read_posted

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator

_NOTED = (
    "the answers that were noted (--impressions) are kept; "
    "`recsys users erase USER ... --events WHERE --impressions FOLDER` erases these users' among them, a minute from "
    "now, when the last are written"
)

#: posts that are written at a time; each waits for a disk or a server, and not for a processor
_WRITERS = 8

_Done = TypeVar("_Done")


def event_routes() -> APIRouter:
    """The routes; the application's state holds what answers, and beside it the store, if there is one."""
    router = token_router("events")
    writing = ThreadPoolExecutor(_WRITERS, thread_name_prefix="writing")
    answers: dict[int | str, dict[str, Any]] = {
        **REFUSALS,
        **UNAUTHORISED,
        403: {"model": Problems, "description": "This service keeps no events, or takes none without a token."},
        503: {"model": Problems, "description": "The store is away or full; nothing was acknowledged."},
    }

    async def stored(request: Request, work: Callable[[EventStore], _Done]) -> _Done:
        store: EventStore | None = request.app.state.online.events
        if store is None:
            raise HTTPException(403, "this service keeps no events; it was started without a store of them")
        try:
            return await asyncio.get_running_loop().run_in_executor(writing, work, store)
        except StoreError as error:
            raise HTTPException(503, str(error)) from error  # nothing is wrong with the request

    @router.post("/events", response_model=EventsAnswer, responses=answers)
    async def events(request: Request, body: EventsRequest) -> Response:
        """Keeps what users did; answered when it is durable, and known to whoever asks next."""
        generator: CandidateGenerator = request.app.state.live.generator

        def kept(store: EventStore) -> tuple[int, int]:
            given, unknown = read_posted(generator, body.events)
            return store.append(given), unknown

        new, unknown = await stored(request, kept)
        told = {"taken": new, "repeated": len(body.events) - new, "unknown_items": unknown}
        return answer({"model": generator.identity, **told})

    @router.delete("/users", response_model=EraseAnswer, responses=answers)
    async def users(request: Request, body: EraseRequest) -> Response:
        """Forgets all events of some users, and says what is kept of them elsewhere: by the model, and as impressions.

        What the served model has learned stays until the next build; answers that were noted stay until
        `recsys users erase` is told where they are.
        """
        generator: CandidateGenerator = request.app.state.live.generator

        def erased_and_carried(store: EventStore) -> tuple[int, list[dict[str, Any]]]:
            left = [asdict(one) for one in carried_in(generator, body.user_ids)]
            return store.erase(body.user_ids), left

        erased, carried = await stored(request, erased_and_carried)
        kept = None if request.app.state.online.impressions is None else _NOTED
        return answer({"model": generator.identity, "erased": erased, "carried": carried, "impressions": kept})

    return router
