"""Pairs that are to be labelled, as a table that people fill in, or at a prompt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from features.errors import InputError
from features.record_pairs import RecordPairs
from features.sources.files import read_table

#: answers at the prompt, by what they mean
_ANSWERS = {"y": 1, "yes": 1, "1": 1, "n": 0, "no": 0, "0": 0}


def labelled_lines(path: Path) -> pl.DataFrame:
    """The lines of an earlier file that have a label."""
    if not path.exists():
        return pl.DataFrame()
    found = read_table(path, None)
    for column in ("left_id", "right_id", "label"):
        if column not in found.columns:
            raise InputError(f"--out {path} is there, and is not such a file: it has no column {column!r}")
    return found.filter(pl.col("label").cast(pl.String).str.strip_chars() != "")


def without(pairs: RecordPairs, labelled: pl.DataFrame) -> list[int]:
    """Places of the pairs that have no label yet; of one table, whichever way round they are."""
    ids = ["left_id", "right_id"]
    if not labelled.height:
        return list(range(len(pairs)))
    frame, known = (one.select(pl.col(ids).cast(pl.String)) for one in (pairs.frame(), labelled))
    if pairs.left is pairs.right:
        known = pl.concat([known, known.select(left_id="right_id", right_id="left_id")])
    return frame.with_row_index("place").join(known, on=ids, how="anti")["place"].sort().to_list()


def side_by_side(pairs: RecordPairs, scores: pl.Series) -> pl.DataFrame:
    """The pairs with what both records say, side by side, and a figure of each. (m,)"""
    frame = pairs.frame().select("left_id", "right_id").with_columns(label=pl.lit(None, pl.Int64))
    sides = (pairs.left.values[pairs.left_rows], pairs.right.values[pairs.right_rows])
    columns = [
        side[name].alias(f"{which}_{name}")
        for name in pairs.left.attributes
        for which, side in zip(("left", "right"), sides, strict=True)
    ]
    return frame.with_columns(scores.round(4), *columns)


def asked(table: pl.DataFrame, say: Callable[[str], None]) -> pl.DataFrame:
    """The pairs that somebody has labelled at the prompt."""
    figure = table.columns[3]
    told = {"probability": "stated probability"}.get(figure, figure)
    names = [name.removeprefix("left_") for name in table.columns[4::2]]
    found: list[tuple[int, int]] = []
    for n, row in enumerate(table.iter_rows(named=True)):
        say(f"\n{n + 1} of {table.height}  ({told} {row[figure]:.2f})")
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
