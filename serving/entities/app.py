"""Entities over HTTP: which one a record is, and what has become of an id."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query, Request, Response

from serving.entities.finder import EntityFinder, chance
from serving.entities.following import MapFollower
from serving.entities.requests import MAX_NAMED, CurrentAnswer, FindAnswer, FindRequest
from serving.http.bounded_body import BoundedRoute
from serving.http.config import ServiceConfig
from serving.http.examples import record_examples
from serving.http.web import REFUSALS, answer, computed, service


def create_entity_app(
    finder: EntityFinder, config: ServiceConfig | None = None, follower: MapFollower | None = None
) -> FastAPI:
    """The ASGI application.

    Args:
        finder: Which answers first.
        config: How it is run.
        follower: Brings later versions of the map.
    """

    def ask_one() -> None:
        _found(app.state.finder, FindRequest(records=[{}]))

    @contextlib.contextmanager
    def following(app: FastAPI) -> Iterator[None]:
        def swap(new: EntityFinder) -> None:
            app.state.finder = new  # whoever answers has taken one reference
            app.openapi_schema = None  # its examples are of what answers

        with contextlib.nullcontext() if follower is None else follower.following(finder, swap, app.state.figures):
            yield

    app = service(
        "Entities of records",
        f"Records are told by {', '.join(finder.attributes)}.",
        ask_one,
        lambda: {"entities": app.state.finder.identity},
        config or ServiceConfig(),
        partial(record_examples, finder.attributes),
        following,
    )
    app.state.finder = finder
    app.include_router(_router())
    return app


def _router() -> APIRouter:
    router = APIRouter(route_class=BoundedRoute, tags=["entities"])

    @router.post("/find", response_model=FindAnswer, responses=REFUSALS)
    async def find(request: Request, body: FindRequest) -> Response:
        """Which entity each record is, and the known records that say so."""
        return answer(await computed(request, partial(_found, request.app.state.finder, body)))

    @router.get("/entities/{entity_id}", response_model=CurrentAnswer)
    async def current(
        request: Request,
        entity_id: Annotated[int, Path(ge=1, lt=2**63)],
        source: Annotated[str | None, Query(max_length=200, description="Records of this feed alone.")] = None,
    ) -> Any:
        """What has become of an entity, and what the feeds call it: a retired id names what has taken its place."""
        finder: EntityFinder = request.app.state.finder
        if entity_id >= finder.entities.next_id:
            raise HTTPException(404, f"no entity has ever had the id {entity_id}")
        return await computed(request, partial(_now, finder, entity_id, source))

    @router.get("/version")
    async def version(request: Request) -> dict[str, Any]:
        """Which map answers."""
        finder: EntityFinder = request.app.state.finder
        counts = {"records": len(finder), "entities": len(finder.entities)}
        return {**finder.identity, **counts, "attributes": finder.attributes}

    return router


def _now(finder: EntityFinder, entity_id: int, source: str | None) -> dict[str, Any]:
    now = finder.current(entity_id)
    records = None if now is None else finder.records_of(now, source)
    return {
        "asked": str(entity_id),
        "entity_id": None if now is None else str(now),
        "size": 0 if records is None else records.height,
        "records": [] if records is None else records.head(MAX_NAMED).to_dicts(),
    }


def _found(finder: EntityFinder, body: FindRequest) -> dict[str, Any]:
    return {
        "entities": finder.identity,
        "found": [
            {
                "entity_id": None if one.entity_id is None else str(one.entity_id),
                "records": [
                    {
                        **{name: value for name, value in asdict(record).items() if name != "log_odds"},
                        "entity_id": str(record.entity_id),
                        "probability": chance(record.log_odds),
                        "same": record.log_odds >= 0,
                    }
                    for record in one.records
                ],
            }
            for one in finder.find(body.records, body.n)
        ],
    }
