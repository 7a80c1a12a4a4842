"""`recsys match label`: the pairs from whose labels a matcher would learn most, as a file or at a prompt.

Without a matcher, pairs of all degrees of likeness are asked for: what a first one can be trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from features.errors import InputError
from training.commands.options import json_argument, model_argument, say
from training.commands.record_options import judging, read_given_pairs, read_tables, record_arguments, told_attributes
from training.commands.written_tables import check_out, written_in_one_step


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser, required=False, what=": a matcher; without one, pairs from alike to unlike are asked for")
    record_arguments(parser, "those to choose from, as `recsys resolve --candidates` writes (default: a blocker's)")
    parser.add_argument("-n", type=int, default=50, help="how many pairs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="a CSV: left_id, right_id, label (empty, to be filled in), probability (without a matcher: similar), "
        "and what both records say; a line that has a label stays, and its pair is not asked for again",
    )
    parser.add_argument("--ask", action="store_true", help="ask for the labels here, one after the other")
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Chooses pairs, and writes them or asks for their labels."""
    if arguments.n < 1:
        raise InputError(f"-n is at least 1, got {arguments.n}")
    check_out(arguments, ends=(".csv",))
    import polars as pl

    from recsys.blocking.blocker import block
    from recsys.blocking.report import similar
    from recsys.matching.informative import spread
    from serving.matching.matcher import Matcher
    from training.matching.labelling import asked, labelled_lines, side_by_side, without

    matcher = None
    if arguments.model is not None:
        matcher = Matcher.load(arguments.model, tracking_uri=arguments.tracking_uri)
    attributes = told_attributes(arguments) if matcher is None else matcher.manifest.attributes
    if arguments.pairs is None:
        pairs = block(*read_tables(arguments, attributes)).pairs
    else:
        pairs = read_given_pairs(arguments, attributes)
    labelled = labelled_lines(arguments.out)
    pairs = pairs.take(without(pairs, labelled))
    if matcher is None:
        alike = similar(pairs)
        places = spread(alike, arguments.n, arguments.seed)
        chosen, figure = pairs.take(places), pl.Series("similar", alike[places])
    else:
        with judging(len(pairs)) as progress:
            chosen = pairs.take(matcher.informative(pairs, arguments.n, arguments.seed, progress))
        figure = pl.Series("probability", matcher.score(chosen).probabilities)
    table = side_by_side(chosen, figure)
    answered = asked(table, say) if arguments.ask else table
    written_in_one_step(pl.concat([labelled, answered], how="diagonal_relaxed"), arguments.out)
    told = answered["label"].drop_nulls()
    figures = {"pairs": len(chosen), "labelled": len(told), "same": int(told.sum()), "out": str(arguments.out)}
    if arguments.json:
        print(json.dumps(figures))
    elif arguments.ask:
        print(f"{figures['labelled']:,} pairs labelled, {figures['same']:,} of them the same  {arguments.out}")
    else:
        print(f"{figures['pairs']:,} pairs to be labelled, in column label 1 for the same and else 0  {arguments.out}")
    return 0
