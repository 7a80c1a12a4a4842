"""`recsys serve`"""

from __future__ import annotations

import argparse
from pathlib import Path

from features.errors import InputError
from training.commands.options import model_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser, required=False, what="; of entities, the matcher that they were resolved with, if any was")
    parser.add_argument(
        "--entities", type=Path, metavar="FOLDER", help="serve the entities that `recsys resolve` has written there"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen at (default: %(default)s)")
    parser.add_argument(
        "--new-items",
        type=Path,
        metavar="FILE",
        help="take items that have come since the model was built (POST /items), and keep them in this file, which the "
        "next training reads by --set data.new_items=FILE (default: take none)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    if arguments.model is None and arguments.entities is None:
        raise InputError("there is nothing to serve: --model names a model, and --entities a folder of entities")
    from serving.server import serve

    serve(
        arguments.model,
        host=arguments.host,
        port=arguments.port,
        tracking_uri=arguments.tracking_uri,
        new_items=arguments.new_items,
        entities=arguments.entities,
    )
    return 0
