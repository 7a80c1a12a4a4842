"""What was shown to whom: a log of answers, as parquet files, that can be joined with what its users did next.

folder/
    2026-01-31/
        131502-841-7f3a9c21.parquet       time, process, and a random part: workers do not meet

A file is written aside and then renamed, so that whatever is there is whole. What is not in a file yet is lost with the
process: these are measurements, and no answer waits for them.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from polars.datatypes import DataTypeClass

from features.errors import InputError
from serving.lists.recommendations import Recommendations
from serving.state.background_queue import BackgroundQueue

#: answers' users that may wait to be written, the buffer of one file not counted
_MOST = 100_000
#: lists that wait as Python's objects, which take ten times the memory of a frame's columns
_LOOSE = 1_000
#: an unfinished file of somebody who was killed; no file takes so long
_DEAD_SECONDS = 600

SCHEMA: dict[str, pl.DataType | DataTypeClass] = {
    "request_id": pl.String,
    "asked_at": pl.Datetime("us", "UTC"),
    "user_id": pl.String,
    "name": pl.String,
    "version": pl.String,
    "build_id": pl.String,
    "item_ids": pl.List(pl.String),
    "scores": pl.List(pl.Float32),
    "source": pl.String,
}


@dataclass(frozen=True)
class _Shown:
    request_id: str
    asked_at: datetime
    identity: Mapping[str, str | None]
    answer: Recommendations

    def rows(self) -> list[tuple]:
        told = tuple(self.identity[one] for one in ("name", "version", "build_id"))
        shown: Sequence[Sequence[str | int]] = self.answer.item_ids
        lists = zip(self.answer.user_ids, shown, self.answer.scores, self.answer.sources, strict=True)
        return [
            (self.request_id, self.asked_at, user if user is None else str(user), *told, list(map(str, items)), *rest)
            for user, items, *rest in lists
        ]


class ImpressionLog:
    """Writes down answers, in a thread of its own. Safe to share between threads.

    Args:
        folder: Made where it is not there.
        rows: A file is written when it has so many users' lists,
        seconds: and at the latest so many seconds after the first of them.
        most: How many lists may wait for being written; more are dropped, and counted in `dropped`.

    Raises:
        InputError: The folder cannot be written to.
    """

    def __init__(self, folder: Path | str, rows: int = 50_000, seconds: float = 60.0, most: int = _MOST) -> None:
        if rows < 1 or seconds <= 0 or most < 1:
            raise InputError(f"an impression log has rows, seconds and most above 0, got {rows}, {seconds} and {most}")
        self.folder = Path(folder)
        self._rows, self._seconds = rows, seconds
        self._buffer: list[tuple] = []
        self._frames: list[pl.DataFrame] = []
        self._held, self._since = 0, 0.0
        #: lists that are in files, and those that could not be written, with the reason of the last
        self.written, self.lost = 0, 0
        self.problem: str | None = None
        #: told why, whenever lists could not be written
        self.failed: Callable[[str], None] = lambda problem: None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder)
            with (probe := self.folder / f".{os.getpid()}-{secrets.token_hex(4)}.part").open("wb"):
                probe.unlink()
        except OSError as error:
            raise InputError(f"impressions cannot be kept at {folder}: {error.strerror or error}") from None
        self._queue = BackgroundQueue("impressions", self._take, most, self._flush_if_due)
        self._queue.after_failure = self._tell

    @property
    def dropped(self) -> int:
        """Lists that came faster than they could be written."""
        return self._queue.dropped

    def put(
        self,
        request_id: str,
        identity: Mapping[str, str | None],
        answer: Recommendations,
        asked_at: datetime | None = None,
    ) -> bool:
        """Notes an answer; waits for nothing.

        Args:
            request_id: What the request is called elsewhere.
            identity: Of the generator that answered.
            answer: Its answer.
            asked_at: When; now, where not given.

        Returns:
            Whether it was taken.
        """
        shown = _Shown(request_id, asked_at or datetime.now(UTC), identity, answer)
        return self._queue.offer(shown, max(1, len(answer)))

    def close(self, timeout: float = 10.0) -> bool:
        """Writes what is left, and takes nothing more; whether all was done in time."""
        return self._queue.close(timeout)

    def _take(self, shown: _Shown) -> None:
        if not self._held and not self._buffer:
            self._since = time.monotonic()
        self._buffer += shown.rows()
        if len(self._buffer) >= _LOOSE:
            self._pack()

    def _pack(self) -> None:
        """Makes a frame of what waits loose."""
        rows, self._buffer = self._buffer, []
        try:
            self._frames.append(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
            self._held += len(rows)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            self._lose(len(rows), error)

    def _flush_if_due(self, ending: bool) -> float | None:
        """Writes a file if it is time to; for how long it is not, None for as long as nothing comes."""
        left, waiting = self._since + self._seconds - time.monotonic(), self._held + len(self._buffer)
        if not waiting:
            return None
        if not ending and waiting < self._rows and left > 0:
            return left
        if self._buffer:
            self._pack()
        frames, held, self._frames, self._held = self._frames, self._held, [], 0
        try:
            if frames:
                _write(self.folder, pl.concat(frames))
                self.written += held
        except (OSError, pl.exceptions.PolarsError) as error:  # a full disk stops no service
            self._lose(held, error)
        return None

    def _tell(self, problem: str) -> None:
        self.failed(problem)  # whoever is told by then

    def _lose(self, many: int, error: Exception) -> None:
        self.lost += many
        self.problem = problem = " ".join(str(error).split())[:300]
        self.failed(problem)


def scan_impressions(folder: Path | str) -> pl.LazyFrame:
    """All impressions of a log, whoever is still writing to it; columns as `SCHEMA`.

    Raises:
        InputError: There is no such folder.
    """
    if not Path(folder).is_dir():
        raise InputError(f"there are no impressions at {folder}: not a folder")
    files = sorted(Path(folder).glob("*/*.parquet"))
    return pl.scan_parquet(files, schema=SCHEMA, glob=False) if files else pl.LazyFrame(schema=SCHEMA)


def _write(folder: Path, frame: pl.DataFrame) -> None:
    """One more file, whole or not at all."""
    now = datetime.now(UTC)
    day, name = folder / f"{now:%Y-%m-%d}", f"{now:%H%M%S}-{os.getpid()}-{secrets.token_hex(4)}"
    day.mkdir(parents=True, exist_ok=True)
    part = day / f".{name}.part"
    try:
        with part.open("wb") as file:
            frame.write_parquet(file)
            file.flush()
            os.fsync(file.fileno())  # a name without its content would spoil the reading of all others
        part.rename(day / f"{name}.parquet")
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _sweep(folder: Path) -> None:
    """Takes away what was being written by somebody who was killed."""
    for part in folder.glob("*/.*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _DEAD_SECONDS:
                part.unlink()
