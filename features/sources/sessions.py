"""Sessions without users, as next-item benchmarks publish them: Diginetica's layout of SR-GNN and NARM.

    folder/
        train_sessions.txt         a line a session: its items, oldest first, separated by blanks
        test_prefix_target.tsv     items, a tab, and the item that came next

S. Wu et al., "Session-based Recommendation with Graph Neural Networks", AAAI 2019.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from features.dataset import Dataset
from features.errors import InputError
from features.ids import integers_if_exact
from features.sources.files import read_lines

TRAIN_FILE = "train_sessions.txt"
TEST_FILE = "test_prefix_target.tsv"


def load(root: Path | None = None) -> Dataset:
    """Sessions from a folder; the split `given` takes its parts as they are published.

    A user is a line: sessions are numbered from 0, those to train on first. The timestamp is the place among all
    interactions, so that order inside a session, and of sessions, is that of the files; it is no time. A session that
    is asked for several times, after one item, after two and so on, is so many lines of the test file, and so many
    users: right for measuring, but a model that is refitted on everything sees its beginnings several times.

    Args:
        root: The folder.

    Returns:
        Interactions with the column `part`: "train", "test" for what came next, and "context" for what came before.

    Raises:
        InputError: A file that is missing, empty or not text, or a line (by number) without a target or without items.
    """
    if root is None or not root.is_dir():
        raise InputError(
            f"there is no folder {root}; the source 'sessions' reads a folder with {TRAIN_FILE} and {TEST_FILE}"
        )
    train = read_lines(root / TRAIN_FILE).select("line", items=_items(pl.col("text")))
    test = read_lines(root / TEST_FILE).with_columns(fields=pl.col("text").str.split("\t"))
    target = pl.col("fields").list.get(1, null_on_oob=True).fill_null("").str.strip_chars()
    for wrong, what in (
        (target == "", "has no target: it reads items, a tab, and the item that came next"),
        (pl.col("fields").list.len() > 2, "has more than one tab"),
        (pl.col("fields").list.get(0).str.strip_chars() == "", "has a target and no item before it"),
        (target.str.contains(r"\s"), "has more than one item as its target"),
    ):
        lines = test.filter(wrong)
        if lines.height:
            raise InputError(f"line {lines['line'][0]} of {root / TEST_FILE} {what}, got {lines['text'][0][:80]!r}")
    test = test.select(items=pl.concat_list(_items(pl.col("fields").list.get(0)), target))
    both = pl.concat([train.select("items", testing=False), test.select("items", testing=True)])
    pairs = both.with_row_index("user_id").explode("items").rename({"items": "item_id"})
    is_last = pl.col("user_id") != pl.col("user_id").shift(-1, fill_value=both.height)
    part = (
        pl.when(~pl.col("testing"))
        .then(pl.lit("train"))
        .when(is_last)
        .then(pl.lit("test"))
        .otherwise(pl.lit("context"))
    )
    pairs = pairs.select(
        pl.col("user_id").cast(pl.Int64),
        *integers_if_exact(pairs["item_id"]),
        timestamp=pl.int_range(pl.len(), dtype=pl.Int64),
        part=part,
    )
    return Dataset.construct(root.resolve().name, pairs, dated=False)


def _items(text: pl.Expr) -> pl.Expr:
    """A line's items."""
    return text.str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ")
