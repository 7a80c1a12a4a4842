"""The service: candidates over HTTP, and what an operator asks of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response

from serving.http.answers import CandidateAnswer, InvocationAnswer, SimilarAnswer
from serving.http.bounded_body import BoundedRoute
from serving.http.config import ServiceConfig
from serving.http.event_routes import event_routes
from serving.http.examples import recommender_examples
from serving.http.item_routes import item_routes
from serving.http.metrics import Figures
from serving.http.problems import in_invocation, told_by_rows
from serving.http.questions import answered
from serving.http.reload_routes import reload_routes
from serving.http.requests import TOLD, CandidateRequest, InvocationRequest, SimilarRequest
from serving.http.ui_routes import ui_routes
from serving.http.web import REFUSALS, answer, computed, service
from serving.lists.raw_ids import FieldError
from serving.log import tell

if TYPE_CHECKING:  # torch and FAISS take seconds, in which `serve` looks up the model
    from serving.candidates import CandidateGenerator
    from serving.lists.recommendations import Recommendations, SimilarItems
    from serving.reload import Look, Reloader
    from serving.state.online_state import OnlineState


def create_app(
    source: str | Path | CandidateGenerator,
    config: ServiceConfig | None = None,
    *,
    tracking_uri: str | None = None,
    reloader: Reloader | None = None,
    online: OnlineState | None = None,
) -> FastAPI:
    """The ASGI application.

    Args:
        source: What `serving.candidates.CandidateGenerator.load` takes, or a generator.
        config: How it is run.
        tracking_uri: Where models are registered.
        reloader: Swaps other versions in: see `serving.reload`; what answers is its own `Live`.
        online: What goes on beside answering; ended with the application.

    Raises:
        InputError: The source cannot be loaded.
    """
    from serving.candidates import CandidateGenerator
    from serving.reload import Live
    from serving.state.online_state import OnlineState

    config = config or ServiceConfig()
    if reloader is not None:
        live = reloader.live
    elif isinstance(source, CandidateGenerator):
        live = Live(source)
    else:
        live = Live(CandidateGenerator.load(source, tracking_uri=tracking_uri, new_items=config.new_items))

    online = online or OnlineState()

    @contextmanager
    def running(app: FastAPI) -> Iterator[None]:
        with closing(online), nullcontext() if reloader is None else reloader:
            yield

    def ask_one() -> None:
        live.generator.warm()

    app = service(
        "Recommendation candidates",
        "Ids are strings in answers, because an integer above 2^53 does not survive every JSON reader.",
        ask_one,
        lambda: {"model": live.generator.identity},
        config,
        lambda: recommender_examples(live.generator),
        running,
    )
    app.state.live, app.state.reloader, app.state.online = live, reloader, online
    online.watch(
        app.state.figures.degraded,
        lambda what, problem: tell("failed", logging.WARNING, what=what, problem=problem),
        app.state.figures.trimmed,
    )
    if online.shadow is not None:
        online.shadow.after = app.state.figures.shadowed
    app.state.figures.serves(live.generator.identity)
    app.state.figures.wants(live.generator.resolved.name, live.generator.resolved.version)
    if reloader is not None:
        reloader.after.append(partial(_looked, app.state.figures))
    app.include_router(_router())
    app.include_router(item_routes())
    app.include_router(event_routes())
    app.include_router(reload_routes())
    if config.ui:
        app.include_router(ui_routes())
    return app


def _looked(figures: Figures, look: Look, old: CandidateGenerator, new: CandidateGenerator) -> None:
    """What an operator learns of other versions."""
    if look.outcome == "unasked":
        figures.unasked()
    else:
        figures.wants(new.resolved.name, look.version)
    if look.outcome == "unchanged":
        return
    if look.outcome != "unasked":
        figures.swap(look.outcome)
    tell("reload", logging.INFO if look.outcome == "swapped" else logging.WARNING, **asdict(look))
    if look.outcome == "swapped":
        figures.serves(old.identity, False)
        figures.serves(new.identity)


async def _lists(request: Request, body: CandidateRequest) -> tuple[CandidateGenerator, Recommendations]:
    """What a request asks for, and who has answered."""
    generator: CandidateGenerator = request.app.state.live.generator  # one reference for the whole request
    online: OnlineState = request.app.state.online
    found = await answered(request.app.state.compute, generator, online, body)
    online.note(request.state.request_id, generator, found)
    given = sum(len(one or ()) for one in body.histories or ())
    request.app.state.figures.answered(found.sources, found.unknown_history_items, given)
    return generator, found


async def _named(
    generator: CandidateGenerator, found: Recommendations | SimilarItems, body: CandidateRequest | SimilarRequest
) -> list[dict[str, Any]]:
    """Lists with what a feed calls their items, and with their titles, where either is asked for."""
    lines, feed = found.to_json(), body.ids_of

    def name() -> None:
        for n, line in enumerate(lines):
            if feed is not None:
                line["feed_ids"] = generator.item_ids.of_feed(line["item_ids"], feed, "ids_of")
            if body.titles:
                line["titles"] = None if found.titles is None else found.titles_of(n)

    if feed is not None or body.titles:
        await asyncio.to_thread(name)  # the first time, all of the feed's ids are gone through
    return lines


def _router() -> APIRouter:
    router = APIRouter(route_class=BoundedRoute, tags=["candidates"])

    @router.post("/candidates", response_model=CandidateAnswer, responses=REFUSALS)
    async def candidates(request: Request, body: CandidateRequest) -> Response:
        """The best items for each of some users."""
        generator, found = await _lists(request, body)
        return answer({"model": generator.identity, "candidates": await _named(generator, found, body)})

    @router.post("/similar", response_model=SimilarAnswer, responses=REFUSALS)
    async def similar(request: Request, body: SimilarRequest) -> Response:
        """The items most like each of some items."""
        generator: CandidateGenerator = request.app.state.live.generator
        how = {name: getattr(body, name) for name in type(body).model_fields if name not in TOLD}
        found = await computed(request, partial(generator.similar, **how), len(body.item_ids))
        return answer({"model": generator.identity, "similar": await _named(generator, found, body)})

    @router.post("/invocations", response_model=InvocationAnswer, responses=REFUSALS)
    async def invocations(request: Request, body: InvocationRequest) -> Response:
        """The same, with the bodies of MLflow's scoring server, so that its clients can move."""
        try:
            generator, found = await _lists(request, body.question())
        except FieldError as error:
            place = in_invocation(error.field, body.dataframe_split is not None)
            raise FieldError(told_by_rows(str(error)), *place) from None
        return answer({"predictions": found.to_json(), "model": generator.identity})

    @router.get("/version", tags=["operation"])
    async def version(request: Request) -> dict[str, Any]:
        """Which model answers, and what its manifest says of it."""
        generator: CandidateGenerator = request.app.state.live.generator
        manifest = generator.bundle.manifest
        return {
            **generator.identity,
            "model_id": generator.resolved.model_id,
            "kind": manifest.kind,
            "created": manifest.created,
            "refitted": manifest.refitted,
            "n_users": manifest.n_users,
            "n_items": manifest.n_items,
            "index": manifest.index,
            "precision": manifest.precision,
            "precision_loss": manifest.precision_loss,
            "reranks": manifest.has_ranker,
            "has_interests": manifest.has_interests,
            "retriever": manifest.retriever,
            "new_items": len(generator.new_items),
            "metrics": manifest.metrics,
            "data": manifest.data,
            "split": manifest.split,
            "libraries": manifest.libraries,
            "git_sha": manifest.git_sha,
        }

    return router
