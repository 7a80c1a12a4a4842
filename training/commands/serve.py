"""`recsys serve`"""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path

from features.errors import InputError
from training.commands.options import model_argument

#: settings of a service that an option calls otherwise
_CALLED = {"most_waiting": "queue", "most_seconds": "longest_wait", "drain_seconds": "drain", "poll_seconds": "poll"}
_TOKEN = "RECSYS_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.description = (
        "Answer candidate requests over HTTP, or those of a matcher, or of entities. A model that is named by an alias "
        "is followed: when the alias moves, the other version is loaded aside, checked, and takes over between two "
        "requests; so is the folder of --entities, when `recsys resolve` writes another version of the map. What "
        "changes something needs the bearer token of RECSYS_TOKEN; where that is not set, one is made and told at the "
        "start."
    )
    model_argument(parser, required=False, what="; of entities, the matcher that they were resolved with, if any was")
    parser.add_argument(
        "--entities", type=Path, metavar="FOLDER", help="serve the entities that `recsys resolve` has written there"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen at (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that answer at it (default: %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        metavar="N",
        help="requests that each of them computes at a time (default: the processors, divided among the processes)",
    )
    parser.add_argument(
        "--new-items",
        type=Path,
        metavar="FILE",
        help="take items that have come since the model was built (POST /items), and keep them in this file, which the "
        "next training reads by --set data.new_items=FILE (default: take none)",
    )
    parser.add_argument(
        "--events",
        metavar="FILE|URL",
        default="",
        help="keep what users do (POST /events), which extends their histories, in this file or at redis://...; 'none' "
        "for nowhere (default: RECSYS_HISTORY_URL, else a file beside the bundle or, by the model's name, here)",
    )
    parser.add_argument(
        "--keep-events",
        type=int,
        metavar="N",
        help="how many events of a user are kept; older ones are discarded (default: 1000)",
    )
    parser.add_argument(
        "--impressions",
        type=Path,
        metavar="FOLDER",
        help="note what was answered to whom, as parquet (default: do not)",
    )
    parser.add_argument(
        "--shadow", metavar="MODEL", help="ask this model some of the requests too, and count how alike the lists are"
    )
    parser.add_argument(
        "--shadow-share",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="which share of them, 0 to 1 (default: %(default)g)",
    )
    parser.add_argument(
        "--poll",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how often the registry, or the folder of entities, is asked for another version; 0 for never (default: "
        "%(default)g)",
    )
    parser.add_argument(
        "--least-recall",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="what a version's approximate index must find of an exact one's to take over, 0 to 1 "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=4096,
        metavar="USERS",
        help="users of requests that may wait in a process; who comes then is answered 429 (default: %(default)s)",
    )
    parser.add_argument(
        "--longest-wait",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long a request may wait to be computed; then it is answered 503 (default: %(default)g)",
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="for how long requests are still taken after SIGTERM, while /readyz says 503 (default: %(default)g)",
    )
    parser.add_argument(
        "--cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin ask, such as https://shop.example, or * for any; may be repeated",
    )
    parser.add_argument("--ui", action="store_true", help="offer a page at /ui, which shows histories to whoever asks")
    parser.add_argument("--log-requests", action="store_true", help="log each request as a line of JSON")


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is told to end."""
    if arguments.model is None and arguments.entities is None:
        raise InputError("there is nothing to serve: --model names a model, and --entities a folder of entities")
    if arguments.events == "none" and arguments.keep_events is not None:
        raise InputError("--events none keeps no events, so --keep-events says nothing; leave out one of the two")
    from serving.http.config import ServiceConfig, SettingError
    from serving.server import Served, serve

    names = {one.name for one in fields(ServiceConfig)} - {"token", "made_token"}
    settings = {name: getattr(arguments, _CALLED.get(name, name)) for name in names}
    settings |= {"cors": tuple(arguments.cors), "token": os.environ.get(_TOKEN) or None}
    if arguments.events == "none":
        settings["events"] = None
    served = Served(arguments.model, arguments.tracking_uri, arguments.entities)
    try:
        return serve(served, arguments.host, arguments.port, ServiceConfig(**settings), arguments.workers)
    except SettingError as error:
        option = f"--{_CALLED.get(error.setting, error.setting).replace('_', '-')}"
        raise InputError(f"{_TOKEN if error.setting == 'token' else option} {error.problem}") from None
