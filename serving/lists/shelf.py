"""What can be recommended at one moment: the catalogue in its index, and beside it the items that have come since."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from features.batches import JaggedArray
from features.vocabulary import Vocabulary
from recsys.index import ItemIndex
from recsys.rescoring import best_of
from recsys.row_set import RowSet
from recsys.similar import Neighbours
from serving.lists.item_columns import ItemColumns, Where
from serving.lists.raw_ids import RawIds


@dataclass(frozen=True)
class Placed:
    """An item that has come since the model was built, where it stands among the others.

    Args:
        vector: What the model makes of it. (D,) float32
        title: What people read of it, if anything.
        said: Of the columns that requests filter by, in the types of the catalogue's.
    """

    vector: np.ndarray
    title: str | None = None
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Shelf:
    """The items of one moment; never changed, so that a request sees the same ones from first to last.

    Rows 0 to N - 1 are the catalogue's, and those from N on the new items', in the order of their ids: no answer
    depends on which of them came first.

    Args:
        index: The catalogue's vectors. (N, D)
        ids: The catalogue's ids. (N)
        width: How many of the first columns say what an item is like: all but an item bias.
        titles: The texts of all items, if items have any. (N + M,)
        columns: What requests filter the catalogue by. (N)
        new_index: The new items' vectors, searched exactly; none while there are none. (M, D)
        new_ids: Their ids. (M)
        new_said: What is said of them in those columns. (M,)
    """

    index: ItemIndex
    ids: RawIds
    width: int
    titles: pl.Series | None = None
    columns: ItemColumns = field(default_factory=ItemColumns)
    new_index: ItemIndex | None = None
    new_ids: RawIds | None = None
    new_said: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.index) + self.n_new

    @property
    def n_new(self) -> int:
        """How many new items there are: M."""
        return 0 if self.new_index is None else len(self.new_index)

    @property
    def max_norm(self) -> float:
        """Length of the longest vector."""
        return max(self.index.max_norm, 0.0 if self.new_index is None else self.new_index.max_norm)

    def with_new(self, items: Mapping[str | int, Placed]) -> Shelf:
        """The same catalogue with these new items, and no others.

        Args:
            items: By id, in the catalogue's own id type.
        """
        n, titles = len(self.index), self.titles
        titles = None if titles is None else titles[:n]
        bare = dataclasses.replace(self, titles=titles, new_index=None, new_ids=None, new_said=())
        if not items:
            return bare
        name, dtype = self.ids.vocabulary.name, self.ids.vocabulary.ids.dtype
        ids = Vocabulary.fit(name, pl.Series(list(items), dtype=dtype))
        placed = [items[one] for one in ids.ids.to_list()]
        if titles is not None:
            new = pl.Series(titles.name, [one.title for one in placed], dtype=pl.String)
            titles = pl.concat([titles, new], rechunk=False)
        vectors = np.stack([one.vector for one in placed])
        index, said = ItemIndex.build(vectors), tuple(one.said for one in placed)
        return dataclasses.replace(bare, titles=titles, new_index=index, new_ids=RawIds(ids), new_said=said)

    def rows(self, ids: Sequence[str | int | None], *field: str | int) -> np.ndarray:
        """The row of each id, -1 where it is unknown or None. (n,) int64

        Args:
            ids: Strings or integers.
            field: What errors call them.

        Raises:
            FieldError: An id of a type that the catalogue's ids are not.
        """
        rows = self.ids.rows(ids, *field)
        if self.new_ids is not None:
            others = np.flatnonzero(rows < 0)
            found = self.new_ids.rows([ids[n] for n in others.tolist()], *field)
            rows[others] = np.where(found >= 0, len(self.index) + found, -1)
        return rows

    def ids_of(self, rows: np.ndarray) -> list[str | int]:
        """The ids of rows, in the catalogue's own id type. (n,)"""
        n = len(self.index)
        ids, new = self.ids.ids(np.minimum(rows, n - 1)), np.flatnonzero(rows >= n)
        if len(new):
            assert self.new_ids is not None  # or there were no such rows
            for place, one in zip(new.tolist(), self.new_ids.ids(rows[new] - n), strict=True):
                ids[place] = one
        return ids

    def ids_of_lists(self, lists: list[np.ndarray]) -> list[list[str]] | list[list[int]]:
        """The ids of lists of rows."""
        ids: list[Any] = self.ids_of(np.concatenate([*lists, np.empty(0, np.int64)]))
        return [ids[start:end] for start, end in pairwise(np.cumsum([0, *map(len, lists)]).tolist())]

    def marks(self, where: Where) -> np.ndarray:
        """Which items have the wanted values: see `serving.lists.item_columns`. (N + M,) bool"""
        marks = self.columns.marks(where)
        return marks if self.new_index is None else np.concatenate([marks, self._new_columns.marks(where)])

    @cached_property
    def _new_columns(self) -> ItemColumns:
        return self.columns.of_others(self.new_said)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        exclude: JaggedArray | None = None,
        effort: float = 1.0,
        among: RowSet | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each query: what the index finds, and all new items, each compared.

        Args:
            queries: (B, D) float32
            k: How many; may be more than there are.
            exclude: Item rows that each query's answer leaves out. (B rows)
            effort: See `recsys.index.ItemIndex.search`.
            among: The only item rows that any answer may hold; all where not given. (of N + M rows)

        Returns:
            Scores (B, k) float32 and item rows (B, k) int64, best first; -inf and -1 where no item is left. Of equals,
            the smaller row comes first.
        """
        scores, rows = self.of_catalogue(queries, k, exclude, effort, among)
        if self.new_index is None:
            return scores, rows
        n, of_new = len(self.index), None
        if exclude is not None:
            met = exclude.only(exclude.values >= n)
            of_new = JaggedArray(met.values - n, met.offsets)
        of_these = None if among is None else among.part(n, len(self))
        new_scores, places = self.new_index.search(queries, k, of_new, among=of_these)
        new_rows = np.where(places >= 0, places + n, -1)
        return best_of(np.concatenate([scores, new_scores], axis=1), np.concatenate([rows, new_rows], axis=1), k)

    def of_catalogue(
        self,
        queries: np.ndarray,
        k: int,
        exclude: JaggedArray | None = None,
        effort: float = 1.0,
        among: RowSet | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `search`, without the new items."""
        if exclude is not None and self.new_index is not None:
            exclude = exclude.only(exclude.values < len(self.index))
        return self.index.search(queries, k, exclude, effort, None if among is None else among.part(0, len(self.index)))

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of item rows. (n,) -> (n, D)"""
        return self._vectors.vectors_of(rows)

    @cached_property
    def _vectors(self) -> ItemIndex | _Both:
        return self.index if self.new_index is None else _Both(self.index, self.new_index)

    @cached_property
    def neighbours(self) -> Neighbours:
        """What finds similar items, among the new ones too."""
        return Neighbours(self._vectors, self.width)


class _Both:
    """The vectors of two indexes, end to end, as `Neighbours` reads them.

    Args:
        first: (N, D)
        second: (M, D)
    """

    def __init__(self, first: ItemIndex, second: ItemIndex) -> None:
        self._first, self._second = first, second
        self.dim = first.dim

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def vectors_of(self, rows: np.ndarray) -> np.ndarray:
        """(n,) -> (n, D)"""
        found, second = np.empty((len(rows), self.dim), np.float32), rows >= len(self._first)
        for index, here, start in ((self._first, ~second, 0), (self._second, second, len(self._first))):
            if here.any():
                found[here] = index.vectors_of(rows[here] - start)
        return found

    def stored(self, start: int, count: int) -> np.ndarray:
        """From one row on; not for writing. (n, D)"""
        n = len(self._first)
        parts = [self._first.stored(start, min(count, n - start))] if start < n else []
        if start + count > n:
            begin = max(start - n, 0)
            parts.append(self._second.stored(begin, start + count - n - begin))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
