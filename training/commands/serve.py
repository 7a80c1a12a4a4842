"""`recsys serve`"""

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands.options import model_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
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
    from serving.app import serve

    serve(
        arguments.model,
        host=arguments.host,
        port=arguments.port,
        tracking_uri=arguments.tracking_uri,
        new_items=arguments.new_items,
    )
    return 0
