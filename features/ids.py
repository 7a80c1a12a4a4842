"""Raw ids: 64-bit integers or strings, kept exactly as they came, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from features.errors import InputError

_LARGEST = (1 << 63) - 1
_SMALLEST = -(1 << 63)


def canonical_ids(values: pl.Series, column: str) -> pl.Series:
    """The values as Int64 or String, without changing any of them; nulls stay null.

    Floats are refused, not rounded: 2^53 + 1 has no float64, so two ids may already have become one, unnoticed.

    Args:
        values: Any column. (n,)
        column: What the error calls it.

    Raises:
        InputError: Floats, other types, or integers that do not fit 64 signed bits.

    Example:
        >>> canonical_ids(pl.Series([3, 1], dtype=pl.UInt16), "item_id").dtype
        Int64
    """
    dtype = values.dtype
    if dtype in (pl.Int64, pl.String):
        return values
    if dtype == pl.Null:
        return values.cast(pl.String)
    if dtype.is_integer():
        fitting = values.cast(pl.Int64, strict=False)
        if fitting.null_count() > values.null_count():
            outside = values.filter(fitting.is_null() & values.is_not_null())
            raise InputError(
                f"column {column!r} has {len(outside)} integer ids outside 64 signed bits, such as {outside[0]}; "
                "give them as strings"
            )
        return fitting
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return values.cast(pl.String)
    if dtype.is_float():
        raise InputError(
            f"column {column!r} holds {dtype} ids, which lose digits above 2^53; read it as integers or strings"
        )
    raise InputError(f"column {column!r} holds {dtype}; ids are integers or strings")


def as_ids(ids: pl.Series | np.ndarray | Sequence[int | str], name: str) -> pl.Series:
    """Ids from wherever they come (a column, an array, a list of a request) as Int64 or String.

    Python integers beyond 64 bits become null, because no id can be equal to them; a list that mixes integers and
    strings is an error.

    Raises:
        InputError: See `canonical_ids`.
    """
    if isinstance(ids, pl.Series):
        return canonical_ids(ids, name)
    if isinstance(ids, np.ndarray):
        return canonical_ids(pl.Series(name, ids), name)
    given: list[Any] = list(ids)
    kinds = {str if isinstance(one, str) else type(one) for one in given if one is not None}
    if kinds <= {str}:
        return pl.Series(name, given, dtype=pl.String)
    if all(issubclass(kind, int | np.integer) and kind is not bool for kind in kinds):
        inside = [one if one is not None and _SMALLEST <= one <= _LARGEST else None for one in given]
        return pl.Series(name, inside, dtype=pl.Int64)
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise InputError(f"the ids {name!r} are of type {names}; ids are all integers or all strings")


def integers_if_exact(*columns: pl.Series) -> list[pl.Series]:
    """Text ids as Int64, if every one of them, in every column, is written exactly as that integer is written.

    One "017", "+3", " 4", "1e5" or number beyond 64 bits keeps all of them strings: as integers, two ids might become
    one.

    Args:
        columns: Columns of one kind of id, such as item_id of two tables; those that are not String stay as they are.

    Example:
        >>> [column.dtype for column in integers_if_exact(pl.Series(["7", "-12"]))]
        [Int64]
        >>> [column.dtype for column in integers_if_exact(pl.Series(["7", "12"]), pl.Series(["007"]))]
        [String, String]
    """
    numbers = [column if column.dtype != pl.String else column.cast(pl.Int64, strict=False) for column in columns]
    for number, column in zip(numbers, columns, strict=True):
        if column.dtype == pl.String and not number.cast(pl.String).equals(column):
            return list(columns)
    return numbers
