"""`recsys users`: forget users, and say who still remembers them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from features.errors import InputError
from training.commands.options import json_argument, tracking_argument

#: what is looked into, and what finds its folder
Place = tuple[str, Callable[[], Path]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own verbs."""
    verbs = parser.add_subparsers(dest="users_verb", metavar="VERB", required=True)
    summary = "erase users from a store of events, and list the models that still carry them"
    erase = verbs.add_parser("erase", help=summary, description=summary[0].upper() + summary[1:] + ".")
    erase.add_argument("users", nargs="+", metavar="USER", help="a user's id")
    erase.add_argument(
        "--events",
        metavar="WHERE",
        help="the file or the address (redis://...) of the events (default: RECSYS_HISTORY_URL)",
    )
    erase.add_argument("--impressions", type=Path, metavar="DIR", help="erase them from this impression log, too")
    erase.add_argument(
        "--registry",
        nargs="*",
        metavar="NAME",
        help="look into all versions of these registered models; without a name, of all",
    )
    erase.add_argument(
        "--bundles", nargs="+", type=Path, default=[], metavar="DIR", help="look into these bundles, or folders of them"
    )
    tracking_argument(erase)
    json_argument(erase)


def run(arguments: argparse.Namespace) -> int:
    """Erases, looks, and prints."""
    from serving.state.carriers import carried_by
    from serving.state.erasing import erase_impressions
    from serving.state.impressions import scan_impressions
    from serving.state.stores import open_events

    # what is named wrongly is told before anything is gone
    if arguments.impressions is not None:
        scan_impressions(arguments.impressions)
    places = [*_folders(arguments.bundles), *_versions(arguments.registry, arguments.tracking_uri)]
    store = open_events(arguments.events, create=False)
    try:
        told: dict[str, Any] = {"erased": store.erase(arguments.users)}
    finally:
        store.close()
    if arguments.impressions is not None:
        told["impressions"] = erase_impressions(arguments.impressions, arguments.users)
    told |= {"looked_into": 0, "carried": {}, "unread": {}}
    for name, found in places:
        try:
            carried = carried_by(found(), arguments.users)
        except InputError as error:  # one that is damaged or gone says nothing of the others
            told["unread"][name] = str(error)
            continue
        told["looked_into"] += 1
        if carried:
            told["carried"][name] = [asdict(one) for one in carried]
    print(json.dumps(told) if arguments.json else "\n".join(_lines(told)))
    return 0


def _folders(roots: list[Path]) -> Iterator[Place]:
    """The bundles in some folders.

    Raises:
        InputError: A folder that does not exist, or has none.
    """
    for root in roots:
        found = sorted(path.parent for path in root.rglob("manifest.json") if (path.parent / "users.parquet").is_file())
        if not found:
            raise InputError(f"there is no bundle in {root}")
        yield from ((str(folder), partial(Path, folder)) for folder in found)


def _versions(names: list[str] | None, tracking_uri: str | None) -> Iterator[Place]:
    """The versions of some registered models, of all where none is named.

    Raises:
        InputError: No such model.
    """
    if names is None:
        return
    from serving.resolve import resolve
    from training.promotion import versions

    def folder_of(source: str) -> Path:
        return resolve(source, tracking_uri).folder

    for name, version in versions(names, tracking_uri):
        source = f"models:/{name}/{version}"
        yield source, partial(folder_of, source)


def _lines(told: dict[str, Any]) -> Iterator[str]:
    """For people."""
    yield f"erased: {told['erased']} events" + (f", {told['impressions']} impressions" if "impressions" in told else "")
    for name, users in told["carried"].items():
        for one in users:
            learned = "learned from" if one["trained"] else "not learned from"
            yield f"{name} carries {one['user_id']}: {one['history_items']} items of history, {learned}"
    for name, why in told["unread"].items():
        yield f"{name} could not be looked into: {why}"
    if not told["looked_into"]:
        yield "no model was looked into: --registry and --bundles name some"
    elif not told["carried"]:
        yield f"none of the {told['looked_into']} models that were looked into carries any of them"
    else:
        yield "what a model carries stays until it is trained again without them, and the version is deleted"
