"""`recsys rollback`"""

from __future__ import annotations

import argparse

from training.commands.options import tracking_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("name", help="a registered model")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, which the tags of both versions keep")
    parser.add_argument("--by", metavar="NAME", help="who rolls back (default: the user that runs this)")
    tracking_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Moves the alias back and says what became of it."""
    from training.promotion import rollback

    print(rollback(arguments.name, arguments.tracking_uri, arguments.why, arguments.by))
    return 0
