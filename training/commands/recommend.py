"""`recsys recommend`"""

from __future__ import annotations

import argparse
import json

from features.errors import InputError
from training.commands.filters import filter_arguments, filters_of, histories_of
from training.commands.options import json_argument, model_argument, new_items_argument, with_new_items


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    parser.add_argument("--user", action="append", default=[], metavar="ID", help="a user's id; can be repeated")
    parser.add_argument(
        "--history", action="append", default=[], metavar="ID,ID,...", help="items of a user without an id; repeatable"
    )
    parser.add_argument("-k", "--k", type=int, default=10, help="candidates for each (default: %(default)s)")
    parser.add_argument(
        "--asked-at",
        type=int,
        metavar="TIME",
        help="when they ask, in the unit of the training data, of a model that reads it (default: at the latest item)",
    )
    parser.add_argument(
        "--keep-seen",
        action=argparse.BooleanOptionalAction,
        help="do not leave out what the user knows already (default: as the model was measured)",
    )
    parser.add_argument("--rerank", action="store_true", help="let the model's ranker order the candidates")
    parser.add_argument(
        "--rerank-depth",
        type=int,
        default=100,
        metavar="N",
        help="how many candidates it chooses from (default: %(default)s)",
    )
    parser.add_argument(
        "--interests",
        choices=("unimodal", "mixture", "smoothed"),
        help="ask for each of a user's interests, smoothed by similar users or not, or for the user as a whole "
        "(default: as the model says)",
    )
    filter_arguments(parser)
    new_items_argument(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints candidates."""
    if not arguments.user and not arguments.history:
        raise InputError("name at least one --user or one --history")
    generator = with_new_items(arguments)
    histories = histories_of(arguments, generator)
    answer = generator.recommend(
        user_ids=[*arguments.user, *([None] * len(histories))],
        histories=[*([None] * len(arguments.user)), *histories],
        k=arguments.k,
        exclude_seen=None if arguments.keep_seen is None else not arguments.keep_seen,
        rerank=arguments.rerank,
        rerank_depth=arguments.rerank_depth,
        interests=arguments.interests,
        asked_at=None if arguments.asked_at is None else [arguments.asked_at] * (len(arguments.user) + len(histories)),
        **filters_of(arguments, generator),
    )
    print(json.dumps(answer.to_json()) if arguments.json else answer.in_full())
    return 0
