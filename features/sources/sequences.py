"""Text files of sequences, without timestamps, as SASRec, BERT4Rec and LightGCN publish theirs.

Either a line a user, `user item item ...`, or a line an interaction, `user item`, both oldest first.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from features.dataset import Dataset
from features.errors import InputError
from features.ids import integers_if_exact
from features.sources.files import read_lines


def load(root: Path | None = None) -> Dataset:
    """Sequences from a text file, fields separated by blanks or tabs.

    If every line has two fields, a line is an interaction; otherwise it is a user. The timestamp of an interaction is
    its place among those of its user: right for leave-one-out, meaningless for a split by time.

    Args:
        root: The file.

    Raises:
        InputError: A file that is missing, empty or not text, or a line (by number) with a user and no item.
    """
    if root is None or not root.is_file():
        raise InputError(f"there is no file {root}; the source 'sequences' reads one text file, given as root")
    lines = read_lines(root).with_columns(pl.col("text").str.strip_chars().str.replace_all(r"\s+", " "))
    lines = lines.with_columns(fields=pl.col("text").str.split(" "))
    short = lines.filter(pl.col("fields").list.len() < 2)
    if short.height:
        raise InputError(f"line {short['line'][0]} of {root} has a user and no item: {short['text'][0]!r}")
    pairs = lines.select(user_id=pl.col("fields").list.first(), item_id=pl.col("fields").list.slice(1)).explode(
        "item_id"
    )
    pairs = pairs.with_columns(*integers_if_exact(pairs["user_id"]), *integers_if_exact(pairs["item_id"]))
    pairs = pairs.with_columns(timestamp=pl.int_range(pl.len(), dtype=pl.Int64).over("user_id"))
    return Dataset.construct(root.stem, pairs, dated=False)
