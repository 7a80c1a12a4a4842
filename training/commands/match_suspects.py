"""`recsys match suspects`: labelled pairs whose labels look wrong."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from features.errors import InputError
from training.commands.options import json_argument, model_argument
from training.commands.record_options import judging, read_given_pairs, record_arguments
from training.commands.written_tables import check_out, written_in_one_step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    record_arguments(parser, "labelled, but not those that the matcher was trained on: what it has seen it believes")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="where to, .csv or .parquet: left_id, right_id, label, probability, log_odds, same",
    )
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Lists the labels that look wrong, the most suspicious first."""
    check_out(arguments)

    from recsys.matching.informative import suspected_noise
    from serving.matching.matcher import Matcher

    matcher = Matcher.load(arguments.model, tracking_uri=arguments.tracking_uri)
    pairs = read_given_pairs(arguments, matcher.manifest.attributes, labelled=True)
    if pairs.labels is None:
        raise InputError("no pair of --pairs has a label, and it is labels that are suspected")
    with judging(len(pairs)) as progress:
        scores = matcher.score(pairs, progress=progress)
    places = suspected_noise(scores.log_odds, pairs.labels)
    written_in_one_step(pairs.frame().hstack(scores.frame())[places], arguments.out)
    if arguments.json:
        print(json.dumps({"pairs": len(pairs), "suspects": len(places), "out": str(arguments.out)}))
    else:
        print(f"{len(places):,} of {len(pairs):,} labels look wrong  {arguments.out}")
    return 0
