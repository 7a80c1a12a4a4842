"""A matcher over HTTP: what it says of pairs of records, and why."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response

from recsys.matching.explain import Explanation
from serving.http.bounded_body import BoundedRoute
from serving.http.config import ServiceConfig
from serving.http.examples import record_examples
from serving.http.ui_routes import page_routes
from serving.http.web import REFUSALS, answer, computed, service
from serving.matching.matcher import Matcher
from serving.matching.requests import ExplainAnswer, ExplainRequest, MatchAnswer, MatchRequest


def create_matcher_app(matcher: Matcher, config: ServiceConfig | None = None) -> FastAPI:
    """The ASGI application.

    Args:
        matcher: Which answers.
        config: How it is run.
    """
    config = config or ServiceConfig()
    app = service(
        "Matching of records",
        f"Records are told by {', '.join(matcher.manifest.attributes)}.",
        partial(_scored, matcher, MatchRequest(pairs=[{"left": {}, "right": {}}])),
        lambda: {"model": matcher.identity},
        config,
        partial(record_examples, matcher.manifest.attributes),
    )
    app.state.matcher = matcher
    app.include_router(_router())
    if config.ui:
        app.include_router(page_routes())
    return app


def _router() -> APIRouter:
    router = APIRouter(route_class=BoundedRoute, tags=["matching"])

    @router.post("/match", response_model=MatchAnswer, responses=REFUSALS)
    async def match(request: Request, body: MatchRequest) -> Response:
        """How likely the records of each pair are the same thing."""
        return answer(await computed(request, partial(_scored, request.app.state.matcher, body)))

    @router.post("/explain", response_model=ExplainAnswer, responses=REFUSALS)
    async def explain(request: Request, body: ExplainRequest) -> Response:
        """What decided about one pair: attributes, and words."""
        matcher: Matcher = request.app.state.matcher
        found = await computed(request, partial(matcher.explain, body.left, body.right))
        scores = matcher.scored(found)
        told = {"uncalibrated_log_odds": found.log_odds, "attributes": found.attributes, "words": _words(found)}
        said = {"threshold": scores.threshold, **scores.frame().row(0, named=True)}
        return answer({"model": matcher.identity, **said, **told})

    @router.get("/version")
    async def version(request: Request) -> dict[str, Any]:
        """Which matcher answers, and what its manifest says of it."""
        matcher: Matcher = request.app.state.matcher
        manifest = matcher.manifest
        told = ("kind", "attributes", "threshold", "created", "metrics", "data", "libraries", "git_sha")
        return {
            **matcher.identity,
            "model_id": matcher.resolved.model_id,
            **{name: getattr(manifest, name) for name in told},
        }

    return router


def _scored(matcher: Matcher, body: MatchRequest) -> dict[str, Any]:
    pairs = matcher.pairs([one.left for one in body.pairs], [one.right for one in body.pairs])
    found = matcher.score(pairs, body.precision)
    return {"model": matcher.identity, "threshold": found.threshold, "pairs": found.frame().to_dicts()}


def _words(found: Explanation) -> list[dict[str, Any]]:
    """Each word with its place, so that whoever shows records can say which of two equal words it is."""
    places: Counter[tuple[str, str]] = Counter()
    told = []
    for side, attribute, word, share in found.words:  # in the order of each value's words
        place = places[side, attribute]
        places[side, attribute] += 1
        told.append({"side": side, "attribute": attribute, "word": word, "place": place, "share": share})
    return sorted(told, key=lambda one: -abs(one["share"]))
