"""The service: candidates over HTTP, and what an operator asks of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from serving.http.answers import CandidateAnswer, InvocationAnswer, SimilarAnswer
from serving.http.bounded_body import BoundedRoute
from serving.http.item_routes import item_routes
from serving.http.requests import CandidateRequest, InvocationRequest, Parameters, SimilarRequest
from serving.http.web import REFUSALS, computed, service

if TYPE_CHECKING:  # torch and FAISS take seconds, in which `serve` looks up the model
    from serving.candidates import CandidateGenerator


def create_app(
    source: str | Path | CandidateGenerator,
    *,
    tracking_uri: str | None = None,
    threads: int = 0,
    new_items: Path | str | None = None,
) -> FastAPI:
    """The ASGI application.

    Args:
        source: What `serving.candidates.CandidateGenerator.load` takes, or a generator.
        tracking_uri: Where models are registered.
        threads: How many requests are computed at a time; 0 takes the number of processors.
        new_items: Takes new items, and keeps them in this file; takes none where not given. A generator that is given
            has its own.

    Raises:
        InputError: The source cannot be loaded.
    """
    from serving.candidates import CandidateGenerator

    generator = source
    if not isinstance(source, CandidateGenerator):
        generator = CandidateGenerator.load(source, tracking_uri=tracking_uri, new_items=new_items)

    app = service(
        "Recommendation candidates",
        generator.bundle.manifest.build_id,
        "Ids are strings in answers, because an integer above 2^53 does not survive every JSON reader.",
        threads,
        generator.warm,
    )
    app.state.generator = generator
    app.include_router(_router())
    app.include_router(item_routes())
    return app


def _router() -> APIRouter:
    router = APIRouter(route_class=BoundedRoute)

    @router.post("/candidates", response_model=CandidateAnswer, responses=REFUSALS)
    async def candidates(request: Request, body: CandidateRequest) -> Response:
        """The best items for each of some users."""
        generator: CandidateGenerator = request.app.state.generator  # one reference for the whole request
        ask = partial(
            generator.recommend,
            body.user_ids,
            body.histories,
            body.k,
            body.exclude_seen,
            attributes=body.attributes,
            rerank=body.rerank,
            rerank_depth=body.rerank_depth,
            history_times=body.history_times,
            asked_at=body.asked_at,
            interests=body.interests,
        )
        found = await computed(request, ask)
        return JSONResponse({"model": generator.identity, "candidates": found.to_json()})

    @router.post("/similar", response_model=SimilarAnswer, responses=REFUSALS)
    async def similar(request: Request, body: SimilarRequest) -> Response:
        """The items most like each of some items."""
        generator: CandidateGenerator = request.app.state.generator
        found = await computed(request, partial(generator.similar, body.item_ids, body.k))
        return JSONResponse({"model": generator.identity, "similar": found.to_json()})

    @router.post("/invocations", response_model=InvocationAnswer, responses=REFUSALS)
    async def invocations(request: Request, body: InvocationRequest) -> Response:
        """The same, with the bodies of MLflow's scoring server, so that its clients can move."""
        generator: CandidateGenerator = request.app.state.generator
        records, params = body.records(), body.params or Parameters()
        users, histories = [one.user_id for one in records], [one.history for one in records]
        times = {name: [getattr(one, name) for one in records] for name in ("history_times", "asked_at")}
        # a column that says nothing of anybody is one that is not there, as in frames that others have filled
        told = {name: column for name, column in times.items() if any(one is not None for one in column)}
        ask = partial(generator.recommend, users, histories, **told, **params.model_dump())
        found = await computed(request, ask)
        return JSONResponse({"predictions": found.to_json(), "model": generator.identity})

    @router.get("/version")
    async def version(request: Request) -> dict[str, Any]:
        """Which model answers, and what its manifest says of it."""
        generator: CandidateGenerator = request.app.state.generator
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
