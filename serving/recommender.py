"""The service of a recommender: what loads it, follows the registry, and keeps what happens beside answering."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from features.errors import InputError
from serving.candidates import CandidateGenerator
from serving.fitness import fitness, unfit
from serving.following import Following
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.last_served import remember_served
from serving.log import tell
from serving.looked_up import Found
from serving.naming import Resolved
from serving.reload import Live, Look, Reloader
from serving.resolve import names_alias
from serving.settling import settle
from serving.state.events import KEPT
from serving.state.impressions import ImpressionLog
from serving.state.online_state import OnlineState
from serving.state.shadow import Shadow
from serving.state.stores import open_events, place_of
from serving.summons import Summons
from serving.workers import Worker


def recommender(
    source: str | Path, tracking_uri: str | None, found: Found, config: ServiceConfig, worker: Worker
) -> tuple[FastAPI, CandidateGenerator]:
    """A service that follows the registry, if an alias is what it serves.

    Args:
        source: What is served.
        tracking_uri: Where models are registered.
        found: What it was looked up to be, and who is asked in its shadow.
        config: How it is run.
        worker: Which process of the service this is.

    Returns:
        The application, and what answers first.

    Raises:
        InputError: A bundle that is not fit to be served, or a place for events that cannot be used.
    """
    load = partial(CandidateGenerator.of, mmap=True, new_items=config.new_items, aside=True)
    model = found.model
    assert model is not None  # what a source was looked up to be
    generator = load(model)
    if wrong := unfit(generator, config.least_recall):
        raise InputError(f"{generator!r} is not fit to be served: {'; '.join(wrong)}")
    check = partial(fitness, least_recall=config.least_recall)
    online = _online_state(model, found.shadow, config)
    follow = Following(source, tracking_uri)
    # what is no alias stays what it is: nobody need be asked for it again, nor a process kept that could
    find: Callable[[str | None], Resolved] = follow if names_alias(source) else lambda held: model
    summons = Summons(worker.folder)
    reloader = Reloader(Live(generator), find, load, check, config.poll_seconds, settle, follow.close, summons)
    app = create_app(generator, config, reloader=reloader, online=online)
    remember_served(worker.folder, generator.resolved)

    def after(look: Look, old: CandidateGenerator, new: CandidateGenerator) -> None:
        if look.outcome == "swapped":
            remember_served(worker.folder, new.resolved)

    reloader.after.append(after)
    return app, generator


def _online_state(model: Resolved, shadow: Resolved | None, config: ServiceConfig) -> OnlineState:
    """What goes on beside answering."""
    online = OnlineState()
    if config.events is not None:
        try:
            online.events = open_events(config.events or place_of(model), keep=config.keep_events or KEPT)
        except InputError as error:
            if config.events:
                raise
            raise InputError(f"{error}; --events names another place for them, and --events none keeps none") from None
        if notice := online.events.health().notice:
            tell("notice", logging.WARNING, of="events", notice=notice)
    if config.impressions is not None:
        online.impressions = ImpressionLog(config.impressions)
    if shadow is not None:
        online.shadow = Shadow(CandidateGenerator.of(shadow, mmap=True), config.shadow_share)
    return online
