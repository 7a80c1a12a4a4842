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
        window: Of "co-engagement": items of a history that are at most so many places apart.
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
        self.config, self._prepared = config, prepared
        order = np.argsort(prepared.items.rows(prepared.dataset.items["item_id"]))
        items = prepared.dataset.items[order]  # in row order
        self._texts = whole_sentences(items, columns, prefix)
        self._told = self._texts.is_not_null().to_numpy() & (prepared.item_counts > 0)
        if config.kind == "attributes":
            unknown = [one for one in config.anchor_columns if one not in columns]
            rest = [one for one in columns if one not in config.anchor_columns]
            if unknown or not rest or not config.anchor_columns:
                raise InputError(
                    f"pairs.anchor_columns is {list(config.anchor_columns)}: some of the text.columns "
                    f"{list(columns)}, and not all"
                )
            self._apart = whole_sentences(items, config.anchor_columns), whole_sentences(items, rest, prefix)
        if config.kind == "query":
            self._queries = self._searched()
        self._together = _keys(*self._neighbours(range(1, config.window + 1)), len(order))
        if not len(self.draw(0)):
            raise InputError(f"the data set {prepared.dataset.name!r} has no pairs of the kind {config.kind!r}")

    @property
    def items(self) -> np.ndarray:
        """Rows of the items that have a text, and that training sees. (m,)"""
        return np.flatnonzero(self._told)

    def text_of(self, rows: np.ndarray) -> list[str]:
        """The texts of some items. (n,)"""
        return self._texts.gather(rows).to_list()

    def together(self, anchors: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether each of some items belongs with each of others: they are the same, or were taken near each other.

        Args:
            anchors: Item rows; -1 for none, which belongs with nothing. (n, ...)
            others: Item rows. (n, ...), or what fits

        Returns:
            bool, of the shape of both
        """
        keys = anchors * self._texts.len() + others
        places = np.searchsorted(self._together, keys).clip(max=max(0, len(self._together) - 1))
        near = self._together[places] == keys if len(self._together) else np.zeros(keys.shape, bool)
        return (anchors >= 0) & ((anchors == others) | near)

    def draw(self, seed: int | Sequence[int]) -> TextPairs:
        """The pairs of an epoch, in random order.

        Args:
            seed: Tells draws apart.
        """
        random = np.random.default_rng(seed)
        kind = self.config.kind
        if kind == "co-engagement":
            pairs = self._engaged(random)
        elif kind == "query":
            queries, rows = self._queries
            chosen = self._some(len(rows), random)
            pairs = TextPairs(
                queries.gather(chosen).to_list(), self.text_of(rows[chosen]), np.full(len(chosen), -1), rows[chosen]
            )
        elif kind == "attributes":
            asking, telling = self._apart
            both = self._told & asking.is_not_null().to_numpy() & telling.is_not_null().to_numpy()
            rows = np.flatnonzero(both)
            rows = rows[self._some(len(rows), random)]
            pairs = TextPairs(asking.gather(rows).to_list(), telling.gather(rows).to_list(), rows, rows)
        else:
            pairs = self._cloze(random)
        return pairs

    def _some(self, n: int, random: np.random.Generator) -> np.ndarray:
        """Which of n pairs an epoch has, in random order."""
        return random.permutation(n)[: self.config.per_epoch or n]

    def _neighbours(self, distances: range) -> tuple[np.ndarray, np.ndarray]:
        """Items of one history so many places apart, each before the other and after it. (n,) each"""
        history: JaggedArray = self._prepared.train
        owner = np.repeat(np.arange(len(history)), history.lengths)
        found = []
        for distance in distances:
            same = owner[distance:] == owner[:-distance] if len(owner) > distance else np.zeros(0, bool)
            first, second = history.values[: len(same)][same], history.values[distance:][same]
            found += [(first, second), (second, first)]
        first, second = (np.concatenate(one) for one in zip(*found, strict=True))
        usable = (first != second) & self._told[first] & self._told[second]
        return first[usable], second[usable]

    def _engaged(self, random: np.random.Generator) -> TextPairs:
        """A partner of each item of a history, whichever came first."""
        history = self._prepared.train
        owner = np.repeat(np.arange(len(history)), history.lengths)
        first = np.arange(len(owner))
        second = first + random.integers(1, self.config.window + 1, len(owner))
        inside = second < len(owner)
        first, second = first[inside], second[inside]
        near = owner[first] == owner[second]
        both = np.stack([history.values[first[near]], history.values[second[near]]])
        both = both[:, (both[0] != both[1]) & self._told[both].all(axis=0)]
        both = both[:, self._some(both.shape[1], random)]
        swapped = random.random(both.shape[1]) < 0.5
        anchors, items = np.where(swapped, both[::-1], both)
        return TextPairs(self.text_of(anchors), self.text_of(items), anchors, items)

    def _searched(self) -> tuple[pl.Series, np.ndarray]:
        """What training interactions searched for, and the items that were taken. (n,) each"""
        log, column = self._prepared.dataset.interactions, self.config.query_column
        if column not in log.columns:
            raise InputError(f"pairs.query_column is {column!r}, which the interactions lack: {', '.join(log.columns)}")
        queries = log[column].cast(pl.String).str.strip_chars()
        rows = self._prepared.item_rows
        usable = (queries.fill_null("") != "").to_numpy() & (self._prepared.split.parts == TRAIN) & self._told[rows]
        return queries.filter(pl.Series(usable)), rows[usable]

    def _cloze(self, random: np.random.Generator) -> TextPairs:
        rows = self.items[self._some(len(self.items), random)]
        cut = [_cut(text, random) for text in self.text_of(rows)]
        kept = [n for n, one in enumerate(cut) if one is not None]
        return TextPairs([cut[n][0] for n in kept], [cut[n][1] for n in kept], rows[kept], rows[kept])


def _cut(text: str, random: np.random.Generator) -> tuple[str, str] | None:
    """A part of a text without its key, and the rest; None of a single word."""
    parts = text.split(BETWEEN)
    if len(parts) > 1:
        n = int(random.integers(len(parts)))
        return parts[n].partition(": ")[2] or parts[n], BETWEEN.join([*parts[:n], *parts[n + 1 :]])
    words = text.split(" ")
    if len(words) < 3:
        return None
    length = max(1, len(words) // 3)
    start = int(random.integers(len(words) - length + 1))
    return " ".join(words[start : start + length]), " ".join([*words[:start], *words[start + length :]])


def _keys(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    """Pairs of rows of n items as one number each, ascending."""
    return np.unique(first * n + second)
