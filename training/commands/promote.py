"""`recsys promote`"""

from __future__ import annotations

import argparse

from training.commands.options import tracking_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("name", help="a registered model")
    parser.add_argument(
        "--version", dest="model_version", help="its version (default: the challenger, else the newest)"
    )
    tracking_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Moves the alias and says what became of it."""
    from training.promotion import promote

    print(promote(arguments.name, arguments.model_version, arguments.tracking_uri))
    return 0
