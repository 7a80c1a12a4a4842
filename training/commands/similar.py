"""`recsys similar`"""

from __future__ import annotations

import argparse
import json

from training.commands.filters import filter_arguments, filters_of
from training.commands.options import json_argument, model_argument, new_items_argument, with_new_items


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    parser.add_argument(
        "--item", action="append", required=True, metavar="ID", help="an item's id; can be repeated", dest="items"
    )
    parser.add_argument("-k", "--k", type=int, default=10, help="similar items of each (default: %(default)s)")
    filter_arguments(parser)
    new_items_argument(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints similar items."""
    generator = with_new_items(arguments)
    answer = generator.similar(arguments.items, k=arguments.k, **filters_of(arguments, generator))
    print(json.dumps(answer.to_json()) if arguments.json else answer.in_full())
    return 0
