"""Interactions without an order that are split already, as LightGCN publishes Gowalla, Yelp2018 and Amazon-Book.

    folder/
        train.txt     a line a user: the user, and the items to train on
        test.txt      the same of the items to test on

X. He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from features.dataset import Dataset
from features.errors import InputError
from features.ids import integers_if_exact
from features.parts import check_shares
from features.sources.files import read_lines

TRAIN_FILE, TEST_FILE = "train.txt", "test.txt"


def load(root: Path | None = None, validation: float = 0.1, seed: int = 0) -> Dataset:
    """Interactions of both files; the split `given` takes their parts, best with `seen` "train+validation".

    The files know no validation, so a share of each user's training items, drawn at random, becomes it. There is no
    order in them either: the timestamp is the place among the user's interactions, those of training first, then those
    of validation, then those of the test. A user whose line names no item trains on none.

    Args:
        root: The folder.
        validation: Share of each user's training items, rounded; 0 for none.
        seed: Another seed draws others.

    Returns:
        Interactions with the column `part`: "train", "validation" or "test".

    Raises:
        InputError: A file that is missing, empty or not text, or an interaction that both files hold.
    """
    if root is None or not root.is_dir():
        raise InputError(
            f"there is no folder {root}; the source 'lightgcn' reads a folder with {TRAIN_FILE} and {TEST_FILE}"
        )
    check_shares(validation=validation)
    train, test = (_pairs(root / name) for name in (TRAIN_FILE, TEST_FILE))
    both = train.join(test, on=["user_id", "item_id"], how="semi")
    if both.height:
        raise InputError(
            f"{both.height} interactions stand in {TRAIN_FILE} and in {TEST_FILE} of {root}, such as the item "
            f"{both['item_id'][0]!r} of the user {both['user_id'][0]!r}"
        )
    draws = pl.Series("draw", np.random.default_rng(seed).random(train.height))
    place = pl.col("draw").rank("ordinal").over("user_id")
    withheld = (pl.len().over("user_id") * validation).round()
    part = pl.when(place <= withheld).then(pl.lit("validation")).otherwise(pl.lit("train"))
    train = train.with_columns(draws).with_columns(part=part).drop("draw")
    parts = [train.filter(pl.col("part") == one) for one in ("train", "validation")]
    pairs = pl.concat([*parts, test.with_columns(part=pl.lit("test"))])
    pairs = pairs.with_columns(*integers_if_exact(pairs["user_id"]), *integers_if_exact(pairs["item_id"]))
    place = pl.int_range(pl.len(), dtype=pl.Int64).over("user_id")
    pairs = pairs.select("user_id", "item_id", place.alias("timestamp"), "part")
    return Dataset.construct(root.resolve().name, pairs, dated=False)


def _pairs(path: Path) -> pl.DataFrame:
    """A row an interaction, each once, in the order of the file."""
    fields = read_lines(path)["text"].str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ")
    users, items = fields.list.first().alias("user_id"), fields.list.slice(1).alias("item_id")
    pairs = pl.DataFrame([users, items]).filter(pl.col("item_id").list.len() > 0).explode("item_id")
    return pairs.unique(maintain_order=True)
