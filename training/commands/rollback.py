"""`recsys rollback`"""

from __future__ import annotations

import argparse

from training.commands.options import tracking_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("name", help="a registered model")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason (recorded; optional)")
    parser.add_argument("--by", metavar="NAME", help="who rolls back (default: the user that runs this)")
    parser.add_argument(
        "--undo", action="store_true", help="make the version champion again that was rolled back (default: refuse it)"
    )
    tracking_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Moves the alias back and says what became of it."""
    from training.promotion import rollback

    print(rollback(arguments.name, arguments.tracking_uri, arguments.why, arguments.by, arguments.undo))
    return 0
