"""What a split is: a part for each interaction, and what an evaluation on the parts may and must know.

What counts as seen, and what a test history holds, changes figures as much as a model does; so both are part of the
split, and the split's hash goes with every figure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from features.dataset import Dataset
from features.digest import sha256_of
from features.errors import InputError

TRAIN, VALIDATION, TEST, CONTEXT = 0, 1, 2, 3

#: what the parts are called
PARTS = ("train", "validation", "test", "context")


Seen = Literal["none", "train", "train+validation"]
TestHistory = Literal["train", "train+validation"]
Histories = Literal["earlier", "cut", "any"]


@dataclass(frozen=True, eq=False)
class Split:
    """A part for every interaction.

    Args:
        name: How it was made, see `make_split`.
        settings: With which settings.
        parts: TRAIN, VALIDATION or TEST; or CONTEXT, for what histories hold when validation or test items are asked
            for, and what is neither trained on nor asked for itself. (n,) uint8
        interactions: What was split: columns user_id, item_id and timestamp. (n rows)
        seen: What is removed from a user's ranking of test items, context besides; in a ranking of validation items it
            is the training items and the context, unless this is "none".
        test_history: What a user's history holds when test items are asked for, context besides.
        histories: Whether what they hold came "earlier" than what is asked for, as the parts are; or is "cut" before
            the first of a user's items that is asked for, in the order of time; or may be of "any" time.
    """

    name: str
    settings: dict[str, Any]
    parts: np.ndarray
    interactions: pl.DataFrame = field(repr=False)
    seen: Seen = "train"
    test_history: TestHistory = "train"
    histories: Histories = "earlier"

    @cached_property
    def sha256(self) -> str:
        """Of the parts, the interactions and all settings: equal hashes mean comparable figures."""
        settings = sorted(self.settings.items())
        return sha256_of(self.name, settings, self.seen, self.test_history, self.parts, self.interactions)

    @property
    def withholds_items(self) -> bool:
        """Whether whole items are kept from training, which then must not know that they exist."""
        return self.name == "cold-items"

    @property
    def counts(self) -> dict[str, int]:
        """How many interactions each part has."""
        return dict(zip(PARTS, np.bincount(self.parts, minlength=len(PARTS)).tolist(), strict=True))

    def __repr__(self) -> str:
        counts = ", ".join(f"{size:,} {part}" for part, size in self.counts.items() if size)
        return f"Split({self.name!r}: {counts}; seen: {self.seen}, test history: {self.test_history})"


def split_of(
    name: str,
    settings: dict[str, Any],
    parts: np.ndarray,
    dataset: Dataset,
    seen: Seen,
    test_history: TestHistory,
    histories: Histories = "earlier",
) -> Split:
    """A split of a data set's interactions.

    Args:
        name: How it was made.
        settings: With which settings.
        parts: A part for each interaction. (n,) uint8
        dataset: What was split.
        seen: See `Split`, as the rest.
        test_history: See `Split`.
        histories: See `Split`.
    """
    interactions = dataset.interactions.select("user_id", "item_id", "timestamp")
    return Split(name, settings, parts, interactions, seen, test_history, histories)


def check_shares(**shares: float) -> None:
    """Refuses shares that are none, or that leave nothing for training.

    Raises:
        InputError: Names the share.
    """
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise InputError(f"{name} is a share in [0, 1), got {share}")
    if sum(shares.values()) >= 1:
        raise InputError(f"{' and '.join(shares)} together leave nothing: {sum(shares.values()):g} of 1")
