"""Items that have come since a model was built: a file of lines that grows, read by the service and by the next build.

A line is a JSON object: `{"item_id": "B01", "attributes": {"title": "Rose soap"}}`, or `{"item_id": "B01", "gone":
true}`. The last line of an item counts. A line that a kill has cut short is not there; one that lacks nothing but its
end, as an editor may leave it, is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

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
        *lines, last = self._lines()
        items: dict[str | int, dict[str, Any]] = {}
        for number, line in enumerate([*lines, last] if _is_whole(last) else lines, start=1):
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

    def unfinished(self) -> str | None:
        """What people should know of a last line that was cut short, and is passed over; nothing where it was not.

        Raises:
            InputError: A file that cannot be read.
        """
        lines = self._lines()
        if not lines[-1].strip() or _is_whole(lines[-1]):
            return None
        told = lines[-1][:60].decode(errors="replace")
        return f"{self.path}, line {len(lines)}, has no end and is no whole item, so it is passed over: {told!r}"

    def _lines(self) -> list[bytes]:
        """All of them; what follows the end of the last one too, which is mostly nothing."""
        try:
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)  # nobody is taking away what a kill has left
                return file.read().split(b"\n")
        except FileNotFoundError:
            return [b""]
        except OSError as error:
            raise InputError(f"the new items {self.path} cannot be read: {error.strerror or error}") from None

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


def _is_whole(line: bytes) -> bool:
    """Whether what has no end is an item all the same: no beginning of a JSON object is one."""
    try:
        return bool(_item_of(json.loads(line)))
    except (ValueError, KeyError, TypeError):
        return False


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
    """Takes away what a kill has left after the last whole line; a whole item that has no end gets one."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) in (b"\n", b""):
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if _is_whole(content[start:]):
        file.write(b"\n")  # at the end, where the file is opened to append
    else:
        file.truncate(start)
