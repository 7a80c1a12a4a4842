"""Items that have come since the model was built: encoded as they come, kept beside the index, found at once.

An item is what a model makes of its attributes and its text; its id is an unknown one. The next build makes it an
ordinary item.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from features.errors import InputError
from features.feature_table import FeatureTable
from features.item_log import ItemLog
from features.schema import Id, Vector
from recsys.rescoring import best_of
from recsys.retrievers import encode_catalogue
from serving.bundle import Bundle
from serving.raw_ids import FieldError, RawIds

#: how many there may be: all are compared with every query
MOST = 100_000


@dataclass(frozen=True)
class Shelf:
    """The new items at one moment; never changed, so that a request sees the same ones from first to last.

    Args:
        ids: In the catalogue's own id type. (M,)
        vectors: (M, D) float32
        attributes: What was said of each. (M,)
        titles: Of the catalogue and of these, if items have any. (N + M,)
    """

    ids: tuple[str | int, ...]
    vectors: np.ndarray
    attributes: tuple[dict[str, Any], ...]
    titles: pl.Series | None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def place_of(self) -> dict[str | int, int]:
        """Where each id stands."""
        return {one: place for place, one in enumerate(self.ids)}

    def met(self, histories: Sequence[Sequence[str | int] | None] | None, users: int) -> list[set[int]]:
        """Which of these each user has met, by the histories of a request. (B,)"""
        if not len(self) or histories is None:
            return [set()] * users
        place_of = self.place_of
        return [set() if one is None else {place_of[item] for item in one if item in place_of} for one in histories]

    def merged(
        self, queries: np.ndarray, scores: np.ndarray, rows: np.ndarray, k: int, n: int, seen: Sequence[set[int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best of what an index has found and of these; of equals, the index's come first.

        Args:
            queries: (B, D)
            scores: Of what was found, best first. (B, k)
            rows: Item rows, -1 where there is none. (B, k)
            k: How many are wanted.
            n: How many items the index has: the m-th of these is row n + m.
            seen: Places of these that each query's answer leaves out. (B,)

        Returns:
            Scores and rows, best first. (B, k) each
        """
        if not len(self) or not len(queries):
            return scores, rows
        own = queries @ self.vectors.T  # (B, M)
        places = np.broadcast_to(np.arange(n, n + len(self)), own.shape).copy()
        for query, left_out in enumerate(seen):
            places[query, list(left_out)], own[query, list(left_out)] = -1, -np.inf
        best, found = best_of(np.concatenate([scores, own], axis=1), np.concatenate([rows, places], axis=1), k)
        return best.astype(np.float32), found


class NewItems:
    """The new items of a bundle's model. Safe to share between threads.

    Args:
        bundle: Whose model reads them.
        item_ids: Its ids.
        titles: Of the catalogue's items, if they have any. (N,)
        log: Where they are kept for the next start and the next build; none for this process alone.

    Raises:
        InputError: A log that cannot be read.
    """

    def __init__(
        self, bundle: Bundle, item_ids: RawIds, titles: pl.Series | None = None, log: ItemLog | None = None
    ) -> None:
        self._bundle, self._ids, self._titles, self._log = bundle, item_ids, titles, log
        self._lock = threading.Lock()
        self.shelf = self._made((), np.empty((0, bundle.model.dim), np.float32), ())
        kept = {} if log is None else log.read()
        waiting = {item: said for item, said in kept.items() if self._row(item) < 0}
        if waiting:
            self.shelf = self._made(waiting, self._encoded(list(waiting.values())), waiting.values())

    def _made(self, ids: Iterable[str | int], vectors: np.ndarray, attributes: Iterable[dict[str, Any]]) -> Shelf:
        ids, attributes, titles = tuple(ids), tuple(attributes), self._titles
        if titles is not None and ids:
            new = [one.get(self._bundle.title_column) for one in attributes]
            titles = pl.concat([titles, pl.Series(titles.name, new, dtype=pl.String)], rechunk=False)
        return Shelf(ids, vectors, attributes, titles)

    def __len__(self) -> int:
        return len(self.shelf)

    @cached_property
    def readable(self) -> tuple[str, ...]:
        """What can be said of an item, by column: what this model reads, and what it passes on, such as titles."""
        declared = [one.column for one in self._bundle.schema.item if not isinstance(one, Id)]
        told = self._bundle.text.config.columns if self._bundle.text is not None else ()
        return tuple(dict.fromkeys([*declared, *told]))

    def add(self, items: Sequence[tuple[str | int, Mapping[str, Any]]]) -> int:
        """Takes items in; one that has come before is replaced.

        Args:
            items: Raw ids, and attributes by column.

        Returns:
            How many are new.

        Raises:
            FieldError: An id that the catalogue has or that occurs twice, an attribute that is not declared or cannot
                be used, an item of which nothing is said that the model reads, or more items than there may be.
        """
        ids, said = self._checked(items)
        vectors = self._encoded(said)
        with self._lock:
            shelf = self.shelf
            places = dict(shelf.place_of)
            fresh = [n for n, one in enumerate(ids) if one not in places]
            if len(shelf) + len(fresh) > MOST:
                raise FieldError(f"there may be {MOST:,} new items, and with these there would be more", "items")
            if self._log is not None:
                self._log.add(dict(zip(ids, said, strict=True)))
            all_vectors, attributes = shelf.vectors.copy(), list(shelf.attributes)
            for n, one in enumerate(ids):
                if one in places:
                    all_vectors[places[one]], attributes[places[one]] = vectors[n], said[n]
            self.shelf = self._made(
                (*shelf.ids, *(ids[n] for n in fresh)),
                np.concatenate([all_vectors, vectors[fresh]]),
                (*attributes, *(said[n] for n in fresh)),
            )
        return len(fresh)

    def remove(self, items: Sequence[str | int]) -> int:
        """Takes items out again, and says how many there were; others are no error."""
        asked = {self._ids.canonical(one, n, ("item_ids",)) for n, one in enumerate(items)}
        with self._lock:
            shelf = self.shelf
            gone = [one for one in shelf.ids if one in asked]
            if not gone:
                return 0
            if self._log is not None:
                self._log.remove(gone)
            kept = [place for place, one in enumerate(shelf.ids) if one not in asked]
            self.shelf = self._made(
                (shelf.ids[n] for n in kept), shelf.vectors[kept], (shelf.attributes[n] for n in kept)
            )
        return len(gone)

    def _row(self, item: str | int) -> int:
        """The catalogue's row of an item; -1 where it has none."""
        return int(self._ids.rows([item], "items")[0])

    def _checked(self, items: Sequence[tuple[str | int, Mapping[str, Any]]]) -> tuple[list[str | int], list[dict]]:
        if not self._reads_items:
            raise FieldError("this model knows items by their ids alone, so it cannot place a new one", "items")
        ids: list[str | int] = []
        for n, (item, said) in enumerate(items):
            mine = self._ids.canonical(item, n, ("items",))
            if mine is None:
                raise FieldError(f"items[{n}].item_id is {str(item)[:60]!r}, and ids here are integers", "items", n)
            if self._row(mine) >= 0:
                raise FieldError(f"items[{n}].item_id is {str(item)[:60]!r}, which the catalogue has", "items", n)
            for name in said:
                if name not in self.readable:
                    known = ", ".join(self.readable)
                    raise FieldError(f"items[{n}] has {str(name)[:60]!r}; what can be said is: {known}", "items", n)
            ids.append(mine)
        twice, times = (Counter(ids).most_common(1) or [(None, 0)])[0]
        if times > 1:
            raise FieldError(f"items has {str(twice)[:60]!r} {times} times", "items")
        return ids, [dict(said) for _, said in items]

    @cached_property
    def _reads_items(self) -> bool:
        """Whether anything but its id tells the model of an item."""
        config, schema = self._bundle.model.config, self._bundle.schema
        attributes = any(
            not isinstance(one, Id | Vector) and (one.embedded or one.kind == "numeric") for one in schema.item
        )
        reads = getattr(config, "items", "all") != "id" and config.fusion.learns_items
        return config.fusion.reads_text or (attributes and reads)

    def _encoded(self, said: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The vectors of items of which so much is said. (n, D) float32"""
        frame = self._frame(said)
        vector = self._bundle.schema.vector
        if vector is not None and self._bundle.text is not None:
            made = self._bundle.text.vectors(frame)
            given = frame[vector.column] if vector.column in frame.columns else None
            column = made if given is None else given.zip_with(given.is_not_null(), made)
            frame = frame.with_columns(column.alias(vector.column))
        encoded = self._bundle.item_encoder.encode(frame)
        self._check_told(encoded)
        return encode_catalogue(self._bundle.model, encoded).numpy()

    def _check_told(self, encoded: FeatureTable) -> None:
        """Refuses items of which nothing is said that the model knows."""
        told = np.zeros(encoded.size, bool)
        declared = {one.name: one for one in self._bundle.schema.item}
        for name, values in encoded.sparse.items():
            if not isinstance(declared[name], Id):
                told |= values.only(values.values >= 0).lengths > 0
        for values in encoded.dense.values():
            told |= values.reshape(encoded.size, -1).any(axis=1)
        if not told.all():
            n = int((~told).argmax())
            raise FieldError(f"items[{n}] says nothing that this model knows, so it has no place", "items", n)

    def _frame(self, said: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """What is said of n items as columns, of the types that the catalogue's have."""
        columns = [pl.Series("", np.zeros(len(said), np.int8))]
        types = self._bundle.item_table.schema
        for name in self.readable:
            values = [one.get(name) for one in said]
            try:
                column = pl.Series(name, values, dtype=types.get(name), strict=True)
                self._bundle.item_encoder.encode(column.to_frame())
            except (InputError, TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
                why = " ".join(str(error).split())[:200]
                raise FieldError(f"items: the attribute {name!r} cannot be used: {why}", "items") from None
            columns.append(column)
        return pl.DataFrame(columns)
