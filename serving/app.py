"""The service: candidates over HTTP, and what an operator asks of it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from features.errors import InputError
from serving.answers import CandidateAnswer, InvocationAnswer, Problems, SimilarAnswer
from serving.bounded_body import BoundedRoute
from serving.item_routes import item_routes
from serving.requests import CandidateRequest, InvocationRequest, Parameters, SimilarRequest
from serving.resolve import resolve_aside

if TYPE_CHECKING:  # torch and FAISS take seconds, in which `serve` looks up the model
    from serving.candidates import CandidateGenerator

_REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problems, "description": "The body is too large."},
    422: {"model": Problems, "description": "A field cannot be used; the answer names it."},
}


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

    app = FastAPI(
        title="Recommendation candidates",
        version=generator.bundle.manifest.build_id,
        description="Ids are strings in answers, because an integer above 2^53 does not survive every JSON reader.",
    )
    app.state.generator = generator
    # more threads than processors would only make all of them slower
    app.state.threads = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="ranking")
    app.include_router(_router())
    app.include_router(item_routes(_REFUSALS))
    app.add_exception_handler(InputError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def _router() -> APIRouter:
    router = APIRouter(route_class=BoundedRoute)

    @router.post("/candidates", response_model=CandidateAnswer, responses=_REFUSALS)
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
        found = await _computed(request, ask)
        return JSONResponse({"model": generator.identity, "candidates": found.to_json()})

    @router.post("/similar", response_model=SimilarAnswer, responses=_REFUSALS)
    async def similar(request: Request, body: SimilarRequest) -> Response:
        """The items most like each of some items."""
        generator: CandidateGenerator = request.app.state.generator
        found = await _computed(request, partial(generator.similar, body.item_ids, body.k))
        return JSONResponse({"model": generator.identity, "similar": found.to_json()})

    @router.post("/invocations", response_model=InvocationAnswer, responses=_REFUSALS)
    async def invocations(request: Request, body: InvocationRequest) -> Response:
        """The same, with the bodies of MLflow's scoring server, so that its clients can move."""
        generator: CandidateGenerator = request.app.state.generator
        records, params = body.records(), body.params or Parameters()
        users, histories = [one.user_id for one in records], [one.history for one in records]
        times = {name: [getattr(one, name) for one in records] for name in ("history_times", "asked_at")}
        # a column that says nothing of anybody is one that is not there, as in frames that others have filled
        told = {name: column for name, column in times.items() if any(one is not None for one in column)}
        ask = partial(generator.recommend, users, histories, **told, **params.model_dump())
        found = await _computed(request, ask)
        return JSONResponse({"predictions": found.to_json(), "model": generator.identity})

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @router.get("/readyz", responses={503: {"model": Problems, "description": "No model answers."}})
    async def readyz(request: Request) -> dict[str, str]:
        """A model is loaded and answers: one is asked."""
        generator: CandidateGenerator = request.app.state.generator
        try:
            await _computed(request, generator.warm)
        except Exception as error:
            raise HTTPException(503, "the model does not answer") from error
        return {"status": "ready"}

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


async def _computed(request: Request, ask: Callable[[], Any]) -> Any:
    """Runs the ranking in a thread, so that other requests are read and answered meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(request.app.state.threads, ask)


async def _refused(request: Request, error: InputError) -> JSONResponse:
    """Input that only the catalogue could judge."""
    place = ["body", *getattr(error, "field", ())]
    return JSONResponse({"detail": [{"loc": place, "msg": str(error), "type": "value_error"}]}, 422)


_ALTERNATIVES = {"constrained-str", "str", "int", "float", "constrained-float", "bool", "none"}


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """What pydantic found. The input is not sent back: it may be large, or not be JSON at all."""
    problems = []
    for one in error.errors()[:20]:
        why = f": {one['ctx']['error']}" if one["type"] == "json_invalid" else ""
        # the alternatives of a union are pydantic's own affair
        place = [part for part in one["loc"] if part not in _ALTERNATIVES and not str(part).startswith("list[")]
        problems.append({"loc": place, "msg": one["msg"] + why, "type": one["type"]})
    return JSONResponse({"detail": problems}, 422)


def serve(
    source: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    tracking_uri: str | None = None,
    threads: int = 0,
    new_items: Path | str | None = None,
) -> None:
    """Serves until it is stopped.

    Args:
        source: What `serving.candidates.CandidateGenerator.load` takes.
        host: The address to listen at.
        port: The port.
        tracking_uri: Where models are registered.
        threads: How many requests are computed at a time; 0 takes the number of processors.
        new_items: Takes new items, and keeps them in this file; takes none where not given.

    Raises:
        InputError: The source cannot be loaded, or the port cannot be listened at.
    """
    # before anything is loaded: a port that is taken is told at once, and whoever asks early waits instead of failing
    listener = _listener(host, port)
    looking_up = resolve_aside(source, tracking_uri)

    import torch
    import uvicorn

    from serving.candidates import CandidateGenerator

    # requests run side by side; a request that used all processors for itself would stand in the others' way
    torch.set_num_threads(1)
    generator = CandidateGenerator.of(looking_up(), new_items=new_items)
    app = create_app(generator, threads=threads)
    if notice := generator.new_items.notice:
        print(notice, file=sys.stderr)
    config = uvicorn.Config(app, log_level="warning", timeout_keep_alive=30, timeout_graceful_shutdown=10)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    print(f"{generator} at {address} (documentation: {address}/docs)", file=sys.stderr, flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    # The protocol is named, because asyncio turns Nagle's algorithm off only where it is; with it every answer that
    # follows another on the same connection would wait 40 ms for an acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"cannot listen at {host} port {port}: {getattr(error, 'strerror', None) or error}") from error
    return listener
