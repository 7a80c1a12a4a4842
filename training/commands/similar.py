"""`recsys similar`"""

from __future__ import annotations

import argparse
import json

from training.commands.options import json_argument, model_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    parser.add_argument(
        "--item", action="append", required=True, metavar="ID", help="an item's id; can be repeated", dest="items"
    )
    parser.add_argument("-k", type=int, default=10, help="similar items of each (default: %(default)s)")
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints similar items."""
    from serving.candidates import CandidateGenerator

    generator = CandidateGenerator.load(arguments.model, tracking_uri=arguments.tracking_uri)
    answer = generator.similar(arguments.items, k=arguments.k)
    print(json.dumps(answer.to_json()) if arguments.json else answer)
    return 0
