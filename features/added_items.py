"""A table of items with those that have come since it was written, each in the types that its columns have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from polars.datatypes import DataTypeClass

from features.errors import InputError


def with_new_items(items: pl.DataFrame, new: Mapping[str | int, Mapping[str, Any]]) -> pl.DataFrame:
    """A table of items with those that it lacks; of those that it has, its own line counts, if that says anything.

    Of an item that is known by its interactions alone, the table says nothing.

    Args:
        items: With the column item_id.
        new: Attributes by id, as an `ItemLog` gives them; those that the table has no column for are left out.

    Raises:
        InputError: An id or an attribute of another type than the table's column.

    Example:
        >>> items = pl.DataFrame({"item_id": ["ink"], "title": ["Ink"]})
        >>> with_new_items(items, {"soap": {"title": "Rose soap"}, "ink": {"title": "Red ink"}})["title"].to_list()
        ['Ink', 'Rose soap']
    """
    attributes = pl.exclude("item_id").is_null()
    silent = items.filter(pl.all_horizontal(attributes))["item_id"] if items.width > 1 else items["item_id"].clear()
    if now_told := [item for item in silent.to_list() if item in new]:
        items = items.filter(~pl.col("item_id").is_in(pl.Series(now_told, dtype=silent.dtype).implode()))
    known = set(items["item_id"].to_list())
    missing = {item: said for item, said in new.items() if item not in known}
    if not missing:
        return items
    told = missing.values()
    columns = [
        attribute_column(name, list(missing) if name == "item_id" else [one.get(name) for one in told], dtype)
        for name, dtype in items.schema.items()
    ]
    return pl.concat([items, pl.DataFrame(columns)], how="vertical_relaxed")  # of nothing but nulls, anything is made


def attribute_column(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """An attribute of new items, as JSON holds it, as a column of the type that the table's has.

    Dates and times are told as ISO 8601 has them, such as "2024-05-01"; times that tell their zone are those of UTC in
    a column that has none.

    Args:
        name: Of the column.
        values: None where nothing is said. (n,)
        dtype: Of the table's column.

    Raises:
        InputError: A value of another type.
    """
    misfit = next((one for one in values if not _fits(one, dtype)), None)
    if misfit is not None:
        raise InputError(f"new items: column {name!r} holds {dtype}, which {repr(misfit)[:60]} is not")
    try:
        if dtype == pl.Date:
            values = [date.fromisoformat(one) if isinstance(one, str) else one for one in values]
        elif isinstance(dtype, pl.Datetime) and any(isinstance(one, str) for one in values):
            # each by itself: what was taken in alone must not be refused beside another one in the next build
            moments = [_moment(one, dtype.time_zone) if isinstance(one, str) else one for one in values]
            column = pl.Series(name, moments, dtype=pl.Datetime(dtype.time_unit), strict=True)
            zone = dtype.time_zone
            return column if zone is None else column.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        return pl.Series(name, values, dtype=None if dtype == pl.Null else dtype, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"new items: column {name!r} holds {dtype}, which a new item's is not: {why}") from None


def _fits(value: Any, dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether a value is of a type: polars takes true for 1, 3 for a day in 1970 and a string for a list of letters."""
    if value is None or dtype == pl.Null:
        return True
    if isinstance(dtype, pl.List | pl.Array):
        return isinstance(value, list | tuple) and all(_fits(one, dtype.inner) for one in value)
    if isinstance(value, bool) or dtype == pl.Boolean:
        return isinstance(value, bool) and dtype == pl.Boolean
    if dtype.is_temporal():
        return not isinstance(value, int | float)
    return isinstance(value, str) != dtype.is_numeric()


def _moment(text: str, zone: str | None) -> datetime:
    """A time as ISO 8601 has it, in UTC, or as it stands where neither it nor its column has a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        if zone is None:
            return moment
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return moment.astimezone(UTC).replace(tzinfo=None)
