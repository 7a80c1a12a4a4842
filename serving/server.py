"""One service for whatever is to be served: a recommender, a matcher of records, or entities."""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

from features.errors import InputError
from serving.bundles.manifest import MATCHER
from serving.bundles.sealed import read_manifest
from serving.http.config import ServiceConfig, SettingError
from serving.last_served import last_served
from serving.log import LOG, log_to_stderr, tell
from serving.looked_up import Found, look_up
from serving.workers import Worker, ended_by_sigterm, run_workers

if TYPE_CHECKING:
    from fastapi import FastAPI


@dataclass(frozen=True)
class Served:
    """What is to be served.

    Args:
        source: What `serving.candidates.CandidateGenerator.load` takes; of entities the matcher that they were resolved
            with, if it was one.
        tracking_uri: Where models are registered.
        entities: A folder of `recsys resolve`, which is served in the place of a recommender.
    """

    source: str | Path | None
    tracking_uri: str | None = None
    entities: Path | str | None = None


def serve(
    served: Served, host: str = "127.0.0.1", port: int = 8000, config: ServiceConfig | None = None, workers: int = 1
) -> int:
    """Serves until it is told to end: a process of its own, whose log and signals it takes over.

    Args:
        served: What.
        host: The address to listen at.
        port: The port.
        config: How it is run. Where it changes something and names no token, one is made, and told.
        workers: Processes that answer at the port.

    Returns:
        An exit status: 0 after SIGTERM, 130 after SIGINT (Ctrl-C), 1 after what the log calls uncaught.

    Raises:
        InputError: It cannot be loaded, or the port cannot be listened at.
        KeyboardInterrupt: SIGINT before anything was loaded.
    """
    from serving.http.listening import address_of, listen

    config = config or ServiceConfig()
    if not 0 <= port <= 65535:
        raise SettingError("port", f"is from 0 to 65535, got {port}")
    if workers < 1:
        raise SettingError("workers", f"is 1 or more, got {workers}")
    if config.token is None:
        config = dataclasses.replace(config, token=secrets.token_urlsafe(24), made_token=True)
    # before anything is loaded: a port that is taken is told at once, and whoever asks early waits instead of failing
    with listen(host, port) as listener:
        address = address_of(listener, host)
        undo = log_to_stderr()
        try:
            looking_up = look_up(served.source, config.shadow, served.tracking_uri)
            if workers == 1:
                with ended_by_sigterm():
                    return _work(served, config, listener, address, looking_up, Worker())
            found = looking_up()  # once: no process asks MLflow, or fetches, what another one does
            threads = config.threads or max(1, (os.cpu_count() or 1) // workers)
            config = dataclasses.replace(config, threads=threads)
            work = partial(_work, served, config, listener, address, lambda: found)
            return run_workers(workers, work, 5 + config.drain_seconds + config.end_seconds)
        except InputError:
            raise
        except Exception:
            LOG.critical("uncaught", exc_info=True)
            return 1
        finally:
            undo()


def _work(
    served: Served,
    config: ServiceConfig,
    listener: socket,
    address: str,
    looking_up: Callable[[], Found],
    worker: Worker,
) -> int:
    """What a process does: load, then answer; returns what it ends with."""
    began = time.perf_counter()

    import torch

    # requests run side by side; a request that used all processors for itself would stand in the others' way
    torch.set_num_threads(1)
    imported = time.perf_counter()
    found = looking_up()
    # one that takes a dead one's place begins with what the others answer with, and not with what has been refused
    if (known := last_served(worker.folder)) is not None:
        found = found._replace(model=known)
    resolved = time.perf_counter()
    app, what = _loaded(served, found, config, worker)
    loaded = time.perf_counter()

    from serving.http.listening import answer_at
    from serving.settling import settle

    settle()
    stages = {"import": imported - began, "resolve": resolved - imported, "load": loaded - resolved}
    tell("loaded", what=repr(what), seconds={name: round(one, 3) for name, one in stages.items()})
    if worker.first:
        if notice := found.notice(served.source):
            tell("notice", logging.WARNING, of="model", notice=notice)
        online = getattr(app.state, "online", None)
        events = None if online is None else online.events
        _greet(
            f"{what} at {address} ({_pages(address, config)})",
            None if online is None else config,
            None if events is None else events.health().where,
        )
    worker.ready()
    return answer_at(app, listener)


def _greet(sentence: str, config: ServiceConfig | None, events: str | None) -> None:
    """What people are told: on standard output, and not in the log, which is kept and read by others."""
    try:
        if events is not None:
            others = "--events FILE names another place, --events none keeps none"
            print(f"events (POST /events) are kept in {events}; {others}")
        if config is not None and config.made_token:
            print(f"token of this run, for requests that change something: {config.token}")
        print(sentence, flush=True)
    except BrokenPipeError:  # nobody need listen
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _pages(address: str, config: ServiceConfig) -> str:
    """What there is for people."""
    return f"documentation: {address}/docs" + (f", to look at: {address}/ui" if config.ui else "")


def _loaded(served: Served, models: Found, config: ServiceConfig, worker: Worker) -> tuple[FastAPI, object]:
    """The application for what is to be served, and what that is."""
    found = models.model
    with nullcontext() if found is None else found.blamed():
        matching = found if found is not None and read_manifest(found.folder).get("kind") == MATCHER else None
    if matching is not None or served.entities is not None:
        what = f"{served.entities} holds entities"
        if matching is not None and served.entities is None:
            what = f"{matching.name} is a matcher of records"
        for name in ("new_items", "impressions", "shadow"):
            if getattr(config, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{what}, and takes no {name.replace('_', ' ')}; leave out {flag}")
        if config.events:
            raise InputError(f"{what}, and takes no events; leave out --events")
        if config.keep_events is not None:
            raise InputError(f"{what}, and keeps no events; leave out --keep-events")
    if config.ui and served.entities is not None:
        raise InputError(f"{served.entities} holds entities, of which there is no page; leave out --ui")
    matcher = None
    if matching is not None:
        from serving.matching.matcher import Matcher

        matcher = Matcher.of(matching)
    if served.entities is not None:
        from serving.entities.app import create_entity_app
        from serving.entities.finder import EntityFinder
        from serving.entities.following import MapFollower

        if found is not None and matcher is None:
            raise InputError(f"{found.name} is no matcher of records, and entities are found by one")
        load = partial(EntityFinder.load, served.entities, matcher)
        follower = MapFollower(served.entities, load, config.poll_seconds)
        finder = load()
        return create_entity_app(finder, config, follower), finder
    if matcher is not None:
        from serving.matching.app import create_matcher_app

        return create_matcher_app(matcher, config), matcher
    from serving.recommender import recommender

    assert served.source is not None  # what holds no entities
    return recommender(served.source, served.tracking_uri, models, config, worker)
