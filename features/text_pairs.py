"""Pairs of texts that belong together, found in a project's own data: what a text encoder is tuned with.

- *co-engagement*: two items that a user took near each other.
- *query*: what somebody searched for, and the item that was taken then.
- *attributes*: what one part of an item's columns says, and what the others say, as a job's title and its skills in
  VacancySBERT (arXiv 2307.16638).
- *cloze*: a part of an item's text, and the rest of it (the inverse cloze task, Lee et al., arXiv 1906.00300); needs
  nothing but texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from features.batches import JaggedArray
from features.errors import InputError
from features.item_text import BETWEEN, whole_sentences
from features.prepared import Prepared
from features.splits import TRAIN

KINDS = ("co-engagement", "query", "attributes", "cloze")


@dataclass(frozen=True)
class PairsConfig:
    """Which texts belong together.

    Args:
        kind: "co-engagement", "query", "attributes" or "cloze": see the module.
        window: Items of a history that are at most so many places apart were taken near each other.
        query_column: Of "query": the column of the interactions that says what was searched for.
        anchor_columns: Of "attributes": those of `text.columns` that are told apart from the others.
        per_epoch: At most so many pairs are drawn for an epoch; 0 for one of each interaction, or each item.
    """

    kind: Literal["co-engagement", "query", "attributes", "cloze"] = "co-engagement"
    window: int = 3
    query_column: str = "query"
    anchor_columns: tuple[str, ...] = ("title",)
    per_epoch: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"pairs.kind is {self.kind!r}, not one of {', '.join(KINDS)}")
        if self.window < 1:
            raise InputError(f"pairs.window is at least 1, got {self.window}")
        if self.per_epoch < 0:
            raise InputError(f"pairs.per_epoch is 0 or more, got {self.per_epoch}")


@dataclass(frozen=True)
class TextPairs:
    """n pairs.

    Args:
        anchors: What is asked with. (n,)
        positives: What is to be found. (n,)
        anchor_items: The item that an anchor is of; -1 where it is of none. (n,) int64
        items: The item that a positive is of. (n,) int64
    """

    anchors: list[str]
    positives: list[str]
    anchor_items: np.ndarray
    items: np.ndarray

    def __len__(self) -> int:
        return len(self.items)


class PairSource:
    """Draws pairs, from what training sees alone: neither withheld items nor later interactions.

    Args:
        prepared: The data.
        columns: What is told of items.
        prefix: What stands before each item's text.
        config: Which texts belong together.

    Raises:
        InputError: Data in which there are none.
    """

    def __init__(self, prepared: Prepared, columns: Sequence[str], prefix: str, config: PairsConfig) -> None:
        self.config, self._prefix = config, prefix
        frame = prepared.item_frame
        self._texts = whole_sentences(frame, columns, prefix)
        told = self._texts.is_not_null().to_numpy() & (prepared.item_counts > 0)
        self.items = np.flatnonzero(told)  # rows of the items that training sees, and of which something is said. (m,)
        self._history = prepared.train.only(told[prepared.train.values])
        self._together = _near(self._history, config.window, len(told))
        if config.kind == "attributes":
            self._asking, self._telling = _apart(frame, columns, prefix, config.anchor_columns)
            both = self._asking.is_not_null() & self._telling.is_not_null()
            self._described = np.flatnonzero(told & both.to_numpy())
        if config.kind == "query":
            self._queries, self._taken = _searched(prepared, told, config.query_column)
        if not len(self.draw(0)):
            raise InputError(f"the data set {prepared.dataset.name!r} has no pairs of the kind {config.kind!r}")

    def text_of(self, rows: np.ndarray) -> list[str]:
        """The texts of some of `items`. (n,)"""
        return self._texts.gather(rows).to_list()

    def together(self, anchors: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether each of some items belongs with each of others: they are the same, or were taken near each other.

        Args:
            anchors: Item rows; -1 for none, which belongs with nothing. (n, ...)
            others: Item rows. (n, ...), or what fits

        Returns:
            bool, of the shape of both
        """
        keys = _keys(anchors, others, len(self._texts))
        near = self._together[np.searchsorted(self._together, keys)] == keys
        return (anchors >= 0) & ((anchors == others) | near)

    def draw(self, seed: int | Sequence[int]) -> TextPairs:
        """The pairs of an epoch, in random order.

        Args:
            seed: Tells draws apart.
        """
        random = np.random.default_rng(seed)
        if self.config.kind == "co-engagement":
            return self._engaged(random)
        if self.config.kind == "cloze":
            return self._cloze(random)
        if self.config.kind == "attributes":
            rows = self._described[self._some(len(self._described), random)]
            return TextPairs(self._asking.gather(rows).to_list(), self._telling.gather(rows).to_list(), rows, rows)
        some = self._some(len(self._taken), random)
        rows = self._taken[some]
        return TextPairs(self._queries.gather(some).to_list(), self.text_of(rows), np.full(len(rows), -1), rows)

    def _some(self, n: int, random: np.random.Generator) -> np.ndarray:
        """Which of n pairs an epoch has, in random order."""
        return random.permutation(n)[: self.config.per_epoch or n]

    def _engaged(self, random: np.random.Generator) -> TextPairs:
        """Each item of a history with one of those that came soon after it, the one or the other as the anchor."""
        values = self._history.values
        ends = np.repeat(self._history.offsets[1:], self._history.lengths)
        soon = np.minimum(ends - np.arange(len(values)) - 1, self.config.window)  # how many come soon after each
        first = np.flatnonzero(soon)
        second = first + 1 + random.integers(soon[first])
        both = np.stack([values[first], values[second]])
        both = both[:, both[0] != both[1]]
        both = both[:, self._some(both.shape[1], random)]
        anchors, items = np.where(random.random(both.shape[1]) < 0.5, both[::-1], both)
        return TextPairs(self.text_of(anchors), self.text_of(items), anchors, items)

    def _cloze(self, random: np.random.Generator) -> TextPairs:
        """A part of each text, and the rest of it."""
        rows = self.items[self._some(len(self.items), random)]
        cut = [_cut(text.removeprefix(self._prefix), random) for text in self.text_of(rows)]
        rows = rows[[one is not None for one in cut]]
        parts, rests = [one[0] for one in cut if one], [self._prefix + one[1] for one in cut if one]
        return TextPairs(parts, rests, rows, rows)


def _near(history: JaggedArray, window: int, n: int) -> np.ndarray:
    """Which of n items stand at most `window` places apart, each pair as one number: ascending, and n^2 at the end."""
    owner = np.repeat(np.arange(len(history)), history.lengths)
    found = [np.array([n * n])]
    for distance in range(1, window + 1):
        same = owner[distance:] == owner[:-distance]
        found.append(np.unique(_keys(history.values[:-distance][same], history.values[distance:][same], n)))
    return np.unique(np.concatenate(found))


def _keys(one: np.ndarray, other: np.ndarray, n: int) -> np.ndarray:
    """Pairs of n items, whichever is the first, as one number each."""
    return np.minimum(one, other) * n + np.maximum(one, other)


def _apart(
    items: pl.DataFrame, columns: Sequence[str], prefix: str, asking: Sequence[str]
) -> tuple[pl.Series, pl.Series]:
    """What is said of items by some of the columns, and by the others. (n,) each"""
    rest = [one for one in columns if one not in asking]
    strange = [one for one in asking if one not in columns]
    if strange:
        raise InputError(f"pairs.anchor_columns names {strange[0]!r}, which text.columns lacks: {', '.join(columns)}")
    if not rest or not asking:
        raise InputError(f"pairs.anchor_columns are some of the text.columns ({', '.join(columns)}), and not all")
    return whole_sentences(items, asking), whole_sentences(items, rest, prefix)


def _searched(prepared: Prepared, told: np.ndarray, column: str) -> tuple[pl.Series, np.ndarray]:
    """What training interactions searched for, and the items that were taken. (n,) each"""
    log = prepared.dataset.interactions
    if column not in log.columns:
        raise InputError(f"pairs.query_column is {column!r}, which the interactions lack: {', '.join(log.columns)}")
    if not isinstance(log.schema[column], pl.String | pl.Categorical | pl.Enum):
        raise InputError(f"pairs.query_column is {column!r}, which holds {log.schema[column]}, not strings")
    queries = log[column].cast(pl.String).str.strip_chars()
    usable = (queries.fill_null("") != "").to_numpy() & (prepared.split.parts == TRAIN) & told[prepared.item_rows]
    return queries.filter(pl.Series(usable)), prepared.item_rows[usable]


def _cut(text: str, random: np.random.Generator) -> tuple[str, str] | None:
    """A part of a text without its key, and the rest; None of a single word."""
    parts = text.split(BETWEEN)
    if len(parts) > 1:
        n = int(random.integers(len(parts)))
        return parts[n].partition(": ")[2] or parts[n], BETWEEN.join([*parts[:n], *parts[n + 1 :]])
    key, _, value = text.partition(": ")
    words = value.split(" ")
    if len(words) < 2:
        return None
    length = max(1, len(words) // 3)
    start = int(random.integers(len(words) - length + 1))
    rest = " ".join([*words[:start], *words[start + length :]])
    return " ".join(words[start : start + length]), f"{key}: {rest}"
