"""Entity records: tables of things that may be the same thing.

A record is what a table says of a thing: an id, and attributes as strings. Two tables that are matched have the same
attributes, whatever their columns are called; `Records.of` maps columns to attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from features.errors import InputError
from features.ids import canonical_ids
from features.plain_text import plain_text

#: what is kept of a value, in characters: no matcher reads a page that was pasted into a title
MOST_CHARACTERS = 20_000


@dataclass(frozen=True, eq=False)
class Records:
    """n records of one table.

    Args:
        name: What errors call the table.
        ids: Each different, none missing. (n,) Int64 or String
        values: A column an attribute, in the order in which they are told; "" where nothing is said. (n rows) String
        shortened: How many values were longer than `MOST_CHARACTERS`, and have lost their ends.
        untold: Attributes that the table has no column for.

    Example:
        >>> shop = pl.DataFrame({"id": [7, 9], "name": ["Rose soap", None], "cost": [3.5, 2.0]})
        >>> records = Records.of("shop", shop, attributes={"title": "name", "price": "cost"})
        >>> records.values.rows()
        [('Rose soap', '3.5'), ('', '2')]
    """

    name: str
    ids: pl.Series
    values: pl.DataFrame
    shortened: int = 0
    untold: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        name: str,
        table: pl.DataFrame,
        id_column: str = "id",
        attributes: Mapping[str, str] | Sequence[str] | None = None,
        untold: Sequence[str] = (),
    ) -> Records:
        """Reads a table.

        Args:
            name: What errors call it.
            table: One row a record. (n rows)
            id_column: Its ids, integers or strings.
            attributes: What is told of a record, in this order: columns, or names with the columns they stand for (""
                for one of which nothing is told); all columns but the id where not given.
            untold: Of these, attributes that may have no column: then nothing is told of them.

        Raises:
            InputError: No row, a column that is not there or cannot be told, an id that is missing or occurs twice, or
                no attribute.
        """
        check_columns(name, table, (id_column,))
        if attributes is None:
            attributes = [column for column in table.columns if column != id_column]
        columns = dict(attributes) if isinstance(attributes, Mapping) else {one: one for one in attributes}
        if not columns:
            raise InputError(f"{name} says nothing of its records: it has no column but {id_column!r}")
        lacking = tuple(
            one for one, column in columns.items() if not column or (one in untold and column not in table.columns)
        )
        if len(lacking) == len(columns):
            raise InputError(
                f"{name} has no column {' or '.join(map(repr, columns.values()))}; its columns are "
                f"{', '.join(table.columns)}: say which of them is which attribute"
            )
        check_columns(name, table, [column for one, column in columns.items() if one not in lacking])
        if not table.height:
            raise InputError(f"{name} has no record")
        ids = canonical_ids(table[id_column], id_column)
        _check_ids(name, ids)
        values = [
            (
                pl.Series("", [""] * table.height, pl.String)
                if attribute in lacking
                else plain_text(table[column], f"column {column!r} of {name}")
            ).alias(attribute)
            for attribute, column in columns.items()
        ]
        return cls(name, ids, *_bounded(values), lacking)

    @classmethod
    def told(cls, name: str, records: Sequence[Mapping[str, Any]], attributes: Sequence[str]) -> Records:
        """Records that are given one by one, such as the lines of a request; their ids are their places, from 0.

        Args:
            name: What errors call them.
            records: What is said of each, by attribute; what is not said is missing. (n,)
            attributes: What may be said, in this order.

        Raises:
            InputError: No record, another attribute, or a value that cannot be told.

        Example:
            >>> Records.told("left", [{"price": 3}, {"price": "3.50"}], ["title", "price"]).values.rows()
            [('', '3'), ('', '3.50')]
        """
        known = set(attributes)
        if isinstance(records, str | Mapping):
            raise InputError(f"{name} are a list, a mapping for each record, and this is a {type(records).__name__}")
        for row, record in enumerate(records):
            if not isinstance(record, Mapping):
                raise InputError(
                    f"record {row + 1} of {name} is a {type(record).__name__}, and not a mapping such as "
                    f"{{{attributes[0]!r}: ...}}"
                )
            if other := next((one for one in record if one not in known), None):
                raise InputError(
                    f"record {row + 1} of {name} has {other!r}, and what may be told of a record is "
                    f"{', '.join(attributes)}"
                )
        if not records:
            raise InputError(f"{name} has no record")
        columns = [[_said(name, one, record.get(one)) for record in records] for one in attributes]
        values = [plain_text(pl.Series(one, column)) for one, column in zip(attributes, columns, strict=True)]
        return cls(name, pl.Series("id", np.arange(len(records))), *_bounded(values))

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Records({self.name!r}: {len(self):,} records of {', '.join(self.attributes)})"

    @property
    def attributes(self) -> list[str]:
        """What is told of a record, in order."""
        return self.values.columns

    def take(self, rows: np.ndarray) -> Records:
        """Some of the records, in the given order. (k,) -> k records"""
        return Records(self.name, self.ids[rows], self.values[rows], self.shortened, self.untold)

    def rows(self, ids: pl.Series) -> np.ndarray:
        """The row of each id, -1 where there is none. (m,) -> (m,) int64"""
        own = self.ids
        if ids.dtype != own.dtype:  # as they are written: "007" is not 7
            ids, own = ids.cast(pl.String), own.cast(pl.String)
        known = pl.DataFrame({"id": own, "row": np.arange(len(self))})
        found = pl.DataFrame({"id": ids}).join(known, on="id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy()


def _bounded(values: Sequence[pl.Series]) -> tuple[pl.DataFrame, int]:
    """A table of values of bearable length, and how many have lost their ends."""
    long = sum(int((one.str.len_chars() > MOST_CHARACTERS).sum()) for one in values)
    return pl.DataFrame([one.str.slice(0, MOST_CHARACTERS) for one in values]), long


def _said(name: str, attribute: str, value: Any) -> str:
    """One value as a string: records that are given one by one need not agree on types."""
    try:
        if value is None or isinstance(value, str):
            (value or "").encode()  # half of a character is none
            return value or ""
        if isinstance(value, list | tuple) and not any(isinstance(one, list | tuple) for one in value):
            return ", ".join(filter(None, (_said(name, attribute, one) for one in value)))
        return plain_text(pl.Series([value]), f"{attribute!r} of {name}")[0]
    except (TypeError, OverflowError, UnicodeEncodeError, pl.exceptions.PolarsError):
        raise InputError(f"{attribute!r} of {name} is {str(value)[:80]!r}: that cannot be told") from None


def check_columns(name: str, table: pl.DataFrame, columns: Iterable[str]) -> None:
    """Raises `InputError` if a table lacks a column."""
    for column in columns:
        if column not in table.columns:
            raise InputError(f"{name} has no column {column!r}; its columns are {', '.join(table.columns)}")


def _check_ids(name: str, ids: pl.Series) -> None:
    if missing := ids.null_count():
        row = ids.is_null().arg_true()[0] + 1
        raise InputError(f"{name} has {missing:,} records without an id, such as row {row}")
    if ids.n_unique() < len(ids):
        twice = ids.filter(ids.is_duplicated())
        rows = (ids == twice[0]).arg_true() + 1
        raise InputError(
            f"{name} has {twice.n_unique():,} ids that occur more than once, such as {twice[0]!r} in rows {rows[0]} "
            f"and {rows[1]}"
        )
