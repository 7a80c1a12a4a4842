"""A page to look at what a model says, and what the page asks. It shows histories to whoever comes."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from serving.http.bounded_body import BoundedRoute
from serving.http.content_policy import policy
from serving.http.ui_requests import ExampleAnswer, PortraitAnswer, PortraitRequest, SearchAnswer, SearchRequest
from serving.http.web import REFUSALS, answer, computed

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator

PAGE = Path(__file__).with_name("ui.html")
#: users and items that the page begins with
_EXAMPLES = 5


def page_routes() -> APIRouter:
    """GET /ui: the same page for all services; it asks /version what there is to be seen."""
    page = PAGE.read_text(encoding="utf-8")
    headers = {
        "content-security-policy": policy(page),
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    router = APIRouter(route_class=BoundedRoute, include_in_schema=False)

    @router.get("/ui")
    async def ui() -> Response:
        return Response(page, media_type="text/html", headers=headers)

    return router


def ui_routes() -> APIRouter:
    """The page, and what it asks of a recommender; the application's state holds the generator."""
    router = APIRouter(route_class=BoundedRoute, tags=["page"])
    router.include_router(page_routes())

    async def told(request: Request, ask: Any, *arguments: Any) -> Any:
        generator: CandidateGenerator = request.app.state.live.generator
        return generator.identity, await computed(request, partial(ask, generator, *arguments))

    @router.get("/ui/examples", response_model=ExampleAnswer, responses=REFUSALS)
    async def examples(request: Request) -> Response:
        """Some users and items to begin with."""
        from serving.portrait import examples

        model, (users, items) = await told(request, examples, _EXAMPLES)
        return answer({"model": model, "users": users, "items": [asdict(one) for one in items]})

    @router.post("/ui/search", response_model=SearchAnswer, responses=REFUSALS)
    async def search(request: Request, body: SearchRequest) -> Response:
        """Items whose title or id holds a text, whatever its case."""
        from serving.portrait import search

        model, items = await told(request, search, body.text, body.n)
        return answer({"model": model, "items": [asdict(one) for one in items]})

    @router.post("/ui/look", response_model=PortraitAnswer, responses=REFUSALS)
    async def look(request: Request, body: PortraitRequest) -> Response:
        """A user's history and interests, the candidates, and why each of them is there."""
        from serving.portrait import portrait

        events = request.app.state.online.events
        model, found = await told(request, portrait, body.user_id, body.history, body.k, body.interests, events)
        return answer({"model": model, "user_id": body.user_id, **asdict(found)})

    return router
