"""Items that have come since a model was built: a file of lines that grows, read by the service and by the next build.

A line is a JSON object: `{"item_id": "B01", "attributes": {"title": "Rose soap"}}`, or `{"item_id": "B01", "gone":
true}`. The last line of an item counts. A line that a kill has cut short is not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import polars as pl
from polars.datatypes import DataTypeClass

from features.errors import InputError

#: how a line reads, for whoever names another file
_EXAMPLE = 'as {"item_id": "B01", "attributes": {"title": "Rose soap"}} is one'


class ItemLog:
    """The file. Several processes may write to it.

    Args:
        path: Made with the first line.

    Example:
        >>> import tempfile
        >>> log = ItemLog(Path(tempfile.mkdtemp()) / "items.jsonl")
        >>> log.add({"soap": {"title": "Rose soap"}, "ink": {"title": "Ink"}})
        >>> log.remove(["ink"])
        >>> log.read()
        {'soap': {'title': 'Rose soap'}}
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def add(self, items: Mapping[str | int, Mapping[str, Any]]) -> None:
        """Writes items with their attributes; on disk when it returns.

        Raises:
            InputError: An attribute that JSON cannot hold, or a file that cannot be written.
        """
        self._append([{"item_id": item, "attributes": dict(attributes)} for item, attributes in items.items()])

    def remove(self, items: Sequence[str | int]) -> None:
        """Writes that items are gone; on disk when it returns.

        Raises:
            InputError: A file that cannot be written.
        """
        self._append([{"item_id": item, "gone": True} for item in items])

    def read(self) -> dict[str | int, dict[str, Any]]:
        """The items that are there, with their attributes, in the order in which they first came.

        Raises:
            InputError: A file that cannot be read, or a line in it that is none of its own.
        """
        try:
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)  # nobody is taking away what a kill has left
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InputError(f"the new items {self.path} cannot be read: {error.strerror or error}") from None
        items: dict[str | int, dict[str, Any]] = {}
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last line's end is no whole line
            if not line.strip():
                continue
            try:
                item, attributes = _item_of(json.loads(line))
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{self.path}, line {number}: not a new item, {_EXAMPLE}") from None
            if attributes is None:
                items.pop(item, None)
            else:
                items[item] = attributes
        return items

    def state(self) -> tuple[int, ...]:
        """Another one whenever the file has changed; empty where there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _append(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        try:
            content = b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in lines)
        except (TypeError, ValueError) as error:
            raise InputError(f"new items: what is said of them is not what JSON can hold: {error}") from None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+", buffering=0) as file:  # a buffer would write again when it is closed
                fcntl.flock(file, fcntl.LOCK_EX)
                _end_with_a_line(file)
                _write_whole(file, content)
        except OSError as error:
            raise InputError(f"the new items {self.path} cannot be written: {error.strerror or error}") from None


def with_new_items(items: pl.DataFrame, new: Mapping[str | int, Mapping[str, Any]]) -> pl.DataFrame:
    """A table of items with those that it lacks; of those that it has, its own line counts, if that says anything.

    Of an item that is known by its interactions alone, the table says nothing.

    Args:
        items: With the column item_id.
        new: Attributes by id, as `ItemLog.read` gives them; those that the table has no column for are left out.

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


def _item_of(said: Any) -> tuple[str | int, dict[str, Any] | None]:
    """What a line says: an id, and attributes, or None where the item is gone."""
    item = said["item_id"]
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise TypeError(item)
    if said.get("gone"):
        return item, None
    if not isinstance(said["attributes"], dict):
        raise TypeError(said["attributes"])
    return item, said["attributes"]


def _write_whole(file: BinaryIO, content: bytes) -> None:
    """Adds lines, all of them or none: what is refused for a full disk must not be there after the next start."""
    end = file.seek(0, os.SEEK_END)
    try:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise


def _end_with_a_line(file: BinaryIO) -> None:
    """Takes away what a kill has left after the last whole line."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) in (b"\n", b""):
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
