"""One service for whatever is to be served: a recommender, a matcher of records, or entities."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError
from serving.bundles.manifest import MATCHER
from serving.bundles.sealed import read_manifest
from serving.http.web import listen, run
from serving.resolve import Resolved, resolve_aside

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve(
    source: str | Path | None,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    tracking_uri: str | None = None,
    threads: int = 0,
    new_items: Path | str | None = None,
    entities: Path | str | None = None,
) -> None:
    """Serves until it is stopped.

    Args:
        source: What `serving.candidates.CandidateGenerator.load` takes; of entities the matcher that they were resolved
            with, if it was one.
        host: The address to listen at.
        port: The port.
        tracking_uri: Where models are registered.
        threads: How many requests are computed at a time; 0 takes the number of processors.
        new_items: Takes new items, and keeps them in this file; takes none where not given.
        entities: A folder of `recsys resolve`, which is served in the place of a recommender.

    Raises:
        InputError: The source cannot be loaded, or the port cannot be listened at.
    """
    # before anything is loaded: a port that is taken is told at once, and whoever asks early waits instead of failing
    with listen(host, port) as listener:
        looking_up = None if source is None else resolve_aside(source, tracking_uri)

        import torch

        # requests run side by side; a request that used all processors for itself would stand in the others' way
        torch.set_num_threads(1)
        app, what = _loaded(looking_up() if looking_up else None, threads, new_items, entities)
        run(app, listener, host, what)


def _loaded(
    found: Resolved | None, threads: int, new_items: Path | str | None, entities: Path | str | None
) -> tuple[FastAPI, object]:
    """The application for what is to be served, and what that is."""
    matches = found is not None and read_manifest(found.folder).get("kind") == MATCHER
    if new_items is not None and (matches or entities is not None):
        what = f"{found.name} is a matcher of records" if entities is None else f"{entities} holds entities"
        raise InputError(f"{what}, and takes no new items; leave out --new-items")
    if entities is not None:
        from serving.entities.app import create_entity_app
        from serving.entities.finder import EntityFinder

        if found is not None and not matches:
            raise InputError(f"{found.name} is no matcher of records, and entities are found by one")
        matcher = None
        if found is not None:
            from serving.matching.matcher import Matcher

            matcher = Matcher.of(found)
        finder = EntityFinder.load(entities, matcher)
        return create_entity_app(finder, threads=threads), finder
    if matches:
        from serving.matching.app import create_matcher_app
        from serving.matching.matcher import Matcher

        matcher = Matcher.of(found)
        return create_matcher_app(matcher, threads=threads), matcher

    from serving.candidates import CandidateGenerator
    from serving.http.app import create_app

    generator = CandidateGenerator.of(found, new_items=new_items)
    if notice := generator.new_items.notice:
        print(notice, file=sys.stderr)
    return create_app(generator, threads=threads), generator
