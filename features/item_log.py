"""Items that have come since a model was built: a file of lines that grows, read by the service and by the next build.

A line is a JSON object: `{"item_id": "B01", "attributes": {"title": "Rose soap"}}`, or `{"item_id": "B01", "gone":
true}`. The last line of an item counts. A line that a kill has cut short is not there.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from features.errors import InputError


class ItemLog:
    """The file.

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
        """Writes items with their attributes; on disk when it returns."""
        self._append([{"item_id": item, "attributes": dict(attributes)} for item, attributes in items.items()])

    def remove(self, items: Sequence[str | int]) -> None:
        """Writes that items are gone."""
        self._append([{"item_id": item, "gone": True} for item in items])

    def read(self) -> dict[str | int, dict[str, Any]]:
        """The items that are there, with their attributes, in the order in which they first came.

        Raises:
            InputError: A line in the middle that is none of this file's.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InputError(f"the new items {self.path} cannot be read: {error.strerror}") from None
        items: dict[str | int, dict[str, Any]] = {}
        for number, line in enumerate(lines[:-1], start=1):  # what follows the last line's end is no whole line
            try:
                said = json.loads(line) if line else None
                if said is None:
                    continue
                if said.get("gone"):
                    items.pop(said["item_id"], None)
                else:
                    items[said["item_id"]] = dict(said["attributes"])
            except (ValueError, KeyError, TypeError, AttributeError):
                raise InputError(f"{self.path}, line {number}: no new item is written so") from None
        return items

    def _append(self, lines: list[dict[str, Any]]) -> None:
        content = b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in lines)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # a line that was cut short ends here, and is ended as what it is: none
                    _cut(file)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def with_new_items(items: pl.DataFrame, new: Mapping[str | int, Mapping[str, Any]]) -> pl.DataFrame:
    """A table of items with those that it lacks; of those that it has, its own line counts.

    Args:
        items: With the column item_id.
        new: Attributes by id, as `ItemLog.read` gives them; those that the table has no column for are left out.

    Raises:
        InputError: An id or an attribute of another type than the table's column.
    """
    known = set(items["item_id"].to_list())
    missing = {item: said for item, said in new.items() if item not in known}
    if not missing:
        return items
    columns = []
    for name, dtype in items.schema.items():
        values = list(missing) if name == "item_id" else [said.get(name) for said in missing.values()]
        try:
            columns.append(pl.Series(name, values, dtype=dtype, strict=True))
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            why = " ".join(str(error).split())[:200]
            raise InputError(f"new items: column {name!r} holds {dtype}, which a new item's is not: {why}") from None
    return pl.concat([items, pl.DataFrame(columns)])


def _cut(file: Any) -> None:
    """Takes away what stands after the last whole line."""
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    file.truncate(whole)
    file.seek(whole)
