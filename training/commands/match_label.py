"""`recsys match label`: the pairs from whose labels a matcher would learn most, as a file or at a prompt."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.errors import InputError
from training.commands.options import json_argument, model_argument, say
from training.commands.record_options import check_out, judging, read_given_pairs, record_arguments, written_in_one_step

if TYPE_CHECKING:
    from features.record_pairs import RecordPairs
    from serving.matching.matcher import Scores

#: answers at the prompt, by what they mean
_ANSWERS = {"y": 1, "yes": 1, "1": 1, "n": 0, "no": 0, "0": 0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    record_arguments(parser, "candidates, such as a blocker gives")
    parser.add_argument("-n", type=int, default=50, help="how many pairs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="a CSV: left_id, right_id, label (empty, to be filled in), probability, and what both records say; a "
        "line that has a label stays, and its pair is not asked for again",
    )
    parser.add_argument("--ask", action="store_true", help="ask for the labels here, one after the other")
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Chooses pairs, and writes them or asks for their labels."""
    if arguments.n < 1:
        raise InputError(f"-n is at least 1, got {arguments.n}")
    check_out(arguments.out, (".csv",))
    from serving.matching.matcher import Matcher

    matcher = Matcher.load(arguments.model, tracking_uri=arguments.tracking_uri)
    pairs = read_given_pairs(arguments, matcher.manifest.attributes)
    labelled = _labelled(arguments.out)
    pairs = pairs.take(_without(pairs, labelled))
    with judging(len(pairs)) as progress:
        chosen = pairs.take(matcher.informative(pairs, arguments.n, arguments.seed, progress))
    table = _table(chosen, matcher.score(chosen))
    answered = _asked(table) if arguments.ask else table
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


def _labelled(path: Path) -> pl.DataFrame:
    """The lines of an earlier file that have a label."""
    if not path.exists():
        return pl.DataFrame()
    from features.sources.files import read_table

    found = read_table(path, None)
    for column in ("left_id", "right_id", "label"):
        if column not in found.columns:
            raise InputError(f"--out {path} is there, and is not such a file: it has no column {column!r}")
    return found.filter(pl.col("label").cast(pl.String).str.strip_chars() != "")


def _without(pairs: RecordPairs, labelled: pl.DataFrame) -> list[int]:
    """Places of the pairs that have no label yet."""
    ids = ["left_id", "right_id"]
    if not labelled.height:
        return list(range(len(pairs)))
    frame = pairs.frame().select(pl.col(ids).cast(pl.String)).with_row_index("place")
    return frame.join(labelled.select(pl.col(ids).cast(pl.String)), on=ids, how="anti")["place"].sort().to_list()


def _table(pairs: RecordPairs, scores: Scores) -> pl.DataFrame:
    """The pairs with what both records say, side by side."""
    frame = pairs.frame().select("left_id", "right_id").with_columns(label=pl.lit(None, pl.Int64))
    sides = (pairs.left.values[pairs.left_rows], pairs.right.values[pairs.right_rows])
    columns = [
        side[name].alias(f"{which}_{name}")
        for name in pairs.left.attributes
        for which, side in zip(("left", "right"), sides, strict=True)
    ]
    return frame.with_columns(pl.Series("probability", scores.probabilities).round(4), *columns)


def _asked(table: pl.DataFrame) -> pl.DataFrame:
    """The pairs that somebody has labelled at the prompt."""
    names = [name.removeprefix("left_") for name in table.columns[4::2]]
    found: list[tuple[int, int]] = []
    for n, row in enumerate(table.iter_rows(named=True)):
        say(f"\n{n + 1} of {table.height}  (stated probability {row['probability']:.2f})")
        for name in names:
            say(f"  {name:>16}  {row[f'left_{name}']}\n  {'':>16}  {row[f'right_{name}']}")
        answer = ""
        while answer not in (*_ANSWERS, "s", "q"):
            print("the same? y, n, s to skip, q to end: ", end="", file=sys.stderr, flush=True)
            try:
                answer = (sys.stdin.readline() or "q").strip().lower()
            except KeyboardInterrupt:  # what was said is kept
                answer = "q"
        if answer == "q":
            break
        if answer != "s":
            found.append((n, _ANSWERS[answer]))
    labels = pl.Series("label", [label for _, label in found], pl.Int64)
    return table[[n for n, _ in found]].with_columns(labels)
