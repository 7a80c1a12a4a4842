"""The items' declared columns, as requests filter by them: which items have a value is looked up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from polars.datatypes import DataTypeClass

from features.batches import JaggedArray
from features.feature_table import numbers_of, values_of
from features.schema import Categorical, Feature, MultiValued, Numeric
from features.vocabulary import Vocabulary
from serving.lists.raw_ids import FieldError, as_list

#: by column: a value, a list of which an item has one at least, or {"min": a, "max": b} of numbers
Where = Mapping[str, Any]
Kind = Literal["strings", "integers", "booleans", "numbers"]

_TYPES = {"strings": str, "integers": int, "booleans": bool}
_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}


class ItemColumns:
    """What is declared of N items and can be asked for: categorical and multi-valued columns, numbers, booleans.

    Read when a column is first asked for, and kept. Safe to share between threads.

    Args:
        features: The declared ones; those of other kinds do not count.
        table: The items' columns. One that it lacks is declared, and nothing is said of any item. (N rows)

    Example:
        >>> table = pl.DataFrame({"genres": ["a|b", None, "b"], "price": [1.5, 2.0, None]})
        >>> columns = ItemColumns((MultiValued("genres"), Numeric("price")), table)
        >>> columns.marks({"genres": ["b", "c"]}).tolist(), columns.marks({"price": {"min": 2}}).tolist()
        ([True, False, True], [False, True, False])
    """

    def __init__(self, features: Iterable[Feature] = (), table: pl.DataFrame | None = None) -> None:
        table = pl.DataFrame() if table is None else table
        self._features: dict[str, Feature] = {}
        for feature in features:
            if isinstance(feature, Categorical | MultiValued | Numeric):
                self._features.setdefault(feature.column, feature)
        self._table = table
        #: what each column holds
        self.kinds: dict[str, Kind] = {name: _kind(one, table) for name, one in sorted(self._features.items())}
        self._read: dict[str, _Values | _Numbers] = {}

    def of_others(self, said: Iterable[Mapping[str, Any]]) -> ItemColumns:
        """The same columns of other items. (M)

        Args:
            said: Of each, its values by column, in the types of these.
        """
        rows, types = list(said), self._table.schema
        columns = [
            pl.Series(name, [one.get(name) for one in rows], dtype=types[name]) for name in self.kinds if name in types
        ]
        others = ItemColumns(self._features.values(), pl.DataFrame([pl.Series("", [0] * len(rows)), *columns]))
        others.kinds = self.kinds
        return others

    def marks(self, where: Where) -> np.ndarray:
        """Which items have what is asked for, of every column. (N,) bool

        Raises:
            FieldError: A column that is not declared, or a value that it cannot hold. A value that no item has is none.
        """
        if not isinstance(where, Mapping):
            raise FieldError(f"where is a {type(where).__name__}, not columns and values", "where")
        for name in where:
            if name not in self.kinds:
                known = ", ".join(self.kinds) or "none"
                raise FieldError(f"where has {str(name)[:60]!r}; the columns that items have are: {known}", "where")
        marks = np.ones(self._table.height, dtype=bool)
        for name, wanted in where.items():
            kind = self.kinds[name]
            if kind == "numbers":
                marks &= self._column(name).between(*_bounds(name, wanted))
            else:
                marks &= self._column(name).any_of(_wanted(name, wanted, kind))
        return marks

    def something(self, name: str) -> Any:
        """What could be asked of a column, such as the value that most items have; None where nothing is said."""
        return self._column(name).something(self.kinds[name])

    def warm(self) -> None:
        """Reads all columns."""
        for name in self.kinds:
            self._column(name)

    def _column(self, name: str) -> Any:
        if name not in self._read:
            feature = self._features[name]
            if self.kinds[name] == "booleans" and isinstance(feature, Numeric):
                feature = Categorical(feature.name, feature.column)
            self._read[name] = (
                _Numbers(feature, self._table) if isinstance(feature, Numeric) else _Values(feature, self._table)
            )
        return self._read[name]


class _Values:
    """Of a column of values: the rows that have each.

    Args:
        feature: Categorical or multi-valued.
        table: (N rows)
    """

    def __init__(self, feature: Feature, table: pl.DataFrame) -> None:
        rows, values = values_of(feature, table)
        vocabulary = Vocabulary.fit(feature.column, values)
        self._size = table.height
        self._place = {value: n for n, value in enumerate(vocabulary.ids.to_list())}
        self._rows = JaggedArray.from_pairs(vocabulary.rows(values), rows, len(vocabulary))  # (V rows)

    def any_of(self, wanted: Iterable[str | int]) -> np.ndarray:
        """Which items have one of some values. (N,) bool"""
        marks = np.zeros(self._size, dtype=bool)
        for place in {self._place[one] for one in wanted if one in self._place}:
            marks[self._rows.row(place)] = True
        return marks

    def something(self, kind: Kind) -> str | int | bool | None:
        """The value that most items have."""
        if not self._place:
            return None
        value = list(self._place)[int(np.argmax(self._rows.lengths))]
        return value == "true" if kind == "booleans" else value


class _Numbers:
    """Of a column of numbers: the numbers.

    Args:
        feature: Numeric.
        table: (N rows)
    """

    def __init__(self, feature: Feature, table: pl.DataFrame) -> None:
        self._numbers = numbers_of(feature, table)

    def between(self, low: float, high: float) -> np.ndarray:
        """Which items have a number from one to another. (N,) bool"""
        return (self._numbers >= low) & (self._numbers <= high)

    def something(self, kind: Kind) -> dict[str, float] | None:
        """The upper half."""
        there = self._numbers[np.isfinite(self._numbers)]
        return {"min": float(np.median(there))} if len(there) else None


def _kind(feature: Feature, table: pl.DataFrame) -> Kind:
    """What values are, as people are told."""
    dtype: pl.DataType | DataTypeClass = table.schema.get(feature.column, pl.Null())
    while isinstance(feature, MultiValued) and isinstance(dtype, pl.List | pl.Array):
        dtype = dtype.inner
    if dtype == pl.Boolean:
        return "booleans"
    if isinstance(feature, Numeric):
        return "numbers"
    return "integers" if dtype.is_integer() else "strings"


def _wanted(name: str, wanted: Any, kind: Kind) -> list[str | int]:
    """The values that are asked for, as the column holds them."""
    wanted = [wanted] if isinstance(wanted, str | int | float | np.generic | None) else wanted
    if isinstance(wanted, Mapping):
        raise FieldError(f"where.{name} is a range, and the column holds {kind}", "where", name)
    values = [one.item() if isinstance(one, np.generic) else one for one in as_list(wanted, "where", name)]
    for one in values:
        if type(one) is not _TYPES[kind]:
            given = _NAMES.get(type(one), type(one).__name__)
            raise FieldError(f"where.{name} has the {given} {one!r:.60}, and the column holds {kind}", "where", name)
    return [str(one).lower() for one in values] if kind == "booleans" else values


def _bounds(name: str, wanted: Any) -> tuple[float, float]:
    """From and to; without end where nothing is said."""
    if not isinstance(wanted, Mapping) or not set(wanted) <= {"min", "max"}:
        example = '{"min": 1, "max": 5}, or one of the two'
        raise FieldError(f"where.{name} is {wanted!r:.60}, and of numbers it is a range: {example}", "where", name)
    bounds = []
    for end, open_end in (("min", -math.inf), ("max", math.inf)):
        one = wanted.get(end)
        if one is None:
            bounds.append(open_end)
            continue
        if isinstance(one, bool) or not isinstance(one, int | float | np.number):
            raise FieldError(f"where.{name}.{end} is {one!r:.60}, not a number", "where", name, end)
        try:
            bounds.append(float(one))
        except OverflowError:  # of Python's integers, which have no end
            bounds.append(math.inf if one > 0 else -math.inf)
        if math.isnan(bounds[-1]):
            raise FieldError(f"where.{name}.{end} is {one!r:.60}, not a number", "where", name, end)
    return bounds[0], bounds[1]
