"""Interactions, items and users behind one validated object."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from features.added_items import with_new_items
from features.declared import check_features, such_as, with_checked_vectors
from features.digest import sha256_of
from features.entity_join import EntityJoin
from features.errors import InputError
from features.ids import canonical_ids
from features.schema import FeatureSchema, Vector
from features.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Dataset:
    """Tables that have been checked; make one with `Dataset.construct` or `features.sources.load`.

    Args:
        name: What reports call it.
        interactions: Columns user_id, item_id (Int64 or String), timestamp (Int64), and whatever else came along.
        items: Column item_id, distinct, and attributes: the whole catalogue, items without interactions included.
        users: Column user_id, distinct, and attributes.
        schema: Which attributes models read.
        orphans: Interactions whose item or user had no line in the tables given; it has one now, all null.
        derived: Columns of the items that follow from the others, such as the vectors of their texts.
        aliases: What items may be called besides, where they are entities: columns alias and item_id, and source, where
            the alias is "SOURCE:ID".
        entities: The map that they are entities of, and what that did.
        dated: Whether timestamps are moments; else they are places in an order, which say nothing of when.
    """

    name: str
    interactions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    schema: FeatureSchema = field(default_factory=FeatureSchema)
    orphans: int = 0
    derived: tuple[str, ...] = ()
    aliases: pl.DataFrame | None = None
    entities: EntityJoin | None = None
    dated: bool = True

    @classmethod
    def construct(
        cls,
        name: str,
        interactions: pl.DataFrame,
        items: pl.DataFrame | None = None,
        users: pl.DataFrame | None = None,
        schema: FeatureSchema | None = None,
        on_orphans: Literal["count", "error"] = "count",
        dated: bool = True,
    ) -> Dataset:
        """Checks tables and makes a data set of them.

        Args:
            name: What reports call it.
            interactions: user_id, item_id (strings or integers), timestamp (integers, or a date or datetime, which
                becomes microseconds), and any other columns.
            items: item_id, each once, and attributes; the items of the interactions where not given.
            users: user_id, each once, and attributes; the users of the interactions where not given.
            schema: Which attributes models read; ids and history where not given.
            on_orphans: What to do about interactions whose item or user is not in its table.
            dated: Whether timestamps are moments, and not places in an order.

        Raises:
            InputError: A column that is missing, of the wrong type, null or duplicated, an empty table, an orphan where
                it is an error, or a declared feature without its column.

        Example:
            >>> log = pl.DataFrame({"user_id": [1, 1, 2], "item_id": ["tea", "ink", "tea"], "timestamp": [10, 20, 15]})
            >>> Dataset.construct("notes", log)
            Dataset('notes': 3 interactions of 2 users with 2 items)
        """
        if on_orphans not in ("count", "error"):
            raise InputError(f"on_orphans is 'count' or 'error', not {on_orphans!r}")
        interactions = _interactions(interactions)
        users, of_users = _entities("users", "user_id", users, interactions["user_id"], on_orphans)
        items, of_items = _entities("items", "item_id", items, interactions["item_id"], on_orphans)
        orphans = int(np.count_nonzero(of_users | of_items))
        schema = schema or FeatureSchema()
        check_features("users", schema.user, users)
        check_features("items", schema.item, items)
        items, schema = with_checked_vectors(items, schema)
        return cls(name, interactions, items, users, schema, orphans, dated=dated)

    def with_new_items(self, new: Mapping[str | int, Mapping[str, Any]]) -> Dataset:
        """The same data with items that nobody has taken yet: see `features.item_log`.

        Args:
            new: Their attributes by id; items that are there already stay as they are.

        Raises:
            InputError: An id or an attribute of another type than the table's column.
        """
        items, _ = with_checked_vectors(with_new_items(self.items, new), self.schema)
        return dataclasses.replace(self, items=items)

    def with_vectors(self, vectors: pl.Series, feature: str | None = None, derived: bool = False) -> Dataset:
        """The same data whose items have a vector besides: a new column, and its declaration.

        Args:
            vectors: A list of numbers for each item, or null, in the order of `items`; its name is the column's.
            feature: What the feature is called; as the column, where not given.
            derived: Whether they follow from other columns, so that the data is what it was without them.

        Raises:
            InputError: Items that have a vector or such a column already, or vectors that cannot be used.
        """
        if vectors.name in self.items.columns:
            raise InputError(f"the items have a column {vectors.name!r} already")
        if len(vectors) != self.items.height:
            raise InputError(f"there are {len(vectors)} vectors for {self.items.height} items")
        declared = (*self.schema.item, Vector(feature or vectors.name, vectors.name))
        items, schema = with_checked_vectors(
            self.items.with_columns(vectors), FeatureSchema(self.schema.user, declared)
        )
        also = (vectors.name,) if derived else ()
        return dataclasses.replace(self, items=items, schema=schema, derived=(*self.derived, *also))

    @property
    def entity_map(self) -> str | None:
        """Version and hash of the map that the items are entities of."""
        return None if self.entities is None else self.entities.identity

    @cached_property
    def sha256(self) -> str:
        """Of all three tables and the declared features: the order of lines counts, the name does not.

        Nor does what is derived, which may differ in its last digits from machine to machine.
        """
        declared = tuple(one for one in self.schema.item if one.column not in self.derived)
        schema = FeatureSchema(self.schema.user, declared)
        return sha256_of(self.interactions, self.items.drop(self.derived), self.users, schema.to_json())

    def __repr__(self) -> str:
        orphans = f", {self.orphans:,} orphans" if self.orphans else ""
        return (
            f"Dataset({self.name!r}: {self.interactions.height:,} interactions of {self.users.height:,} users "
            f"with {self.items.height:,} items{orphans})"
        )


def _interactions(frame: pl.DataFrame) -> pl.DataFrame:
    """Checked, in canonical types, the three named columns first."""
    frame = _frame("interactions", frame, ("user_id", "item_id", "timestamp"))
    for column in ("user_id", "item_id"):
        frame = frame.with_columns(_ids("interactions", column, frame[column]))
    frame = frame.with_columns(_timestamps(frame["timestamp"]))
    named = ["user_id", "item_id", "timestamp"]
    return frame.select(*named, pl.exclude(named))


def _entities(
    table: str, column: str, frame: pl.DataFrame | None, mentioned: pl.Series, on_orphans: str
) -> tuple[pl.DataFrame, np.ndarray]:
    """The checked table of users or items with the ids that only interactions mention, and which of these do. (n,)"""
    if frame is None:
        return Vocabulary.fit(column, mentioned).ids.to_frame(), np.array(False)
    frame = _frame(table, frame, (column,))
    ids = _ids(table, column, frame[column])
    if ids.dtype != mentioned.dtype:
        raise InputError(
            f"column {column!r} holds {mentioned.dtype} in the interactions ({mentioned[0]!r}) and {ids.dtype} in the "
            f"{table} ({ids[0]!r}); make them the same"
        )
    known = Vocabulary.fit(column, ids)
    if len(known) < len(ids):
        counts = (
            ids.value_counts(name="times").filter(pl.col("times") > 1).sort("times", column, descending=[True, False])
        )
        example, times = counts.row(0)
        raise InputError(
            f"column {column!r} of the {table} holds {counts.height} ids more than once, "
            f"such as {example!r} ({times} times)"
        )
    frame = frame.with_columns(ids).select(column, pl.exclude(column))
    orphan = known.rows(mentioned) < 0
    if orphan.any():
        strangers = mentioned.filter(pl.Series(orphan))
        if on_orphans == "error":
            raise InputError(
                f"{len(strangers)} of {len(mentioned)} interactions have an {column} that the {table} lack, such as "
                f"{strangers[0]!r} (row {int(orphan.argmax())})".replace("an user_id", "a user_id")
            )
        added = Vocabulary.fit(column, strangers).ids.to_frame()
        frame = pl.concat([frame, added], how="diagonal")
    return frame, orphan


def _frame(table: str, frame: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    elif type(frame).__module__.partition(".")[0] == "pandas":
        frame = pl.from_pandas(frame)
    if not isinstance(frame, pl.DataFrame):
        raise InputError(f"the {table} are a {type(frame).__name__}, not a polars or pandas data frame")
    for column in columns:
        if column not in frame.columns:
            raise InputError(
                f"the {table} have no column {column!r}; their columns are {', '.join(frame.columns) or 'none'}"
            )
    if not frame.height:
        raise InputError(f"the {table} are empty: columns {', '.join(frame.columns)} and no row")
    return frame


def _ids(table: str, column: str, values: pl.Series) -> pl.Series:
    _refuse_nulls(table, column, values)
    try:
        return canonical_ids(values, column)
    except InputError as error:
        raise InputError(f"the {table}: {error}, first row {values[0]!r}") from None


def _refuse_nulls(table: str, column: str, values: pl.Series) -> None:
    if values.null_count():
        first = int(values.is_null().arg_max() or 0)
        raise InputError(
            f"column {column!r} of the {table} is null in {values.null_count()} of {len(values)} rows, "
            f"first in row {first}"
        )


def _timestamps(values: pl.Series) -> pl.Series:
    """Int64: integers as they are, dates and datetimes as microseconds since 1970."""
    _refuse_nulls("interactions", "timestamp", values)
    if values.dtype == pl.Int64:
        return values
    if isinstance(values.dtype, pl.Datetime | pl.Date):
        return values.cast(pl.Datetime("us")).to_physical()
    if values.dtype.is_integer():
        return canonical_ids(values, "timestamp")
    raise InputError(
        f"column 'timestamp' of the interactions holds {values.dtype}{such_as(values)}; it takes integers, "
        "dates or datetimes (for order alone, a row number will do)"
    )
