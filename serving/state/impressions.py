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
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from features.errors import InputError
from features.time_units import UNITS
from serving.lists.recommendations import Recommendations
from serving.state.aside import Aside

#: answers' users that may wait to be written, the buffer of one file not counted
_MOST = 100_000
#: an unfinished file of somebody who was killed; no file takes so long
_DEAD_SECONDS = 600

SCHEMA = {
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
        lists = zip(self.answer.user_ids, self.answer.item_ids, self.answer.scores, self.answer.sources, strict=True)
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
        self._since = 0.0
        #: lists that are in files, and those that could not be written, with the reason of the last
        self.written, self.lost, self.problem = 0, 0, None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder)
            with (probe := self.folder / f".{os.getpid()}-{secrets.token_hex(4)}.part").open("wb"):
                probe.unlink()
        except OSError as error:
            raise InputError(f"impressions cannot be kept at {folder}: {error.strerror or error}") from None
        self._aside = Aside("impressions", self._take, most, self._flush_if_due)

    @property
    def dropped(self) -> int:
        """Lists that came faster than they could be written."""
        return self._aside.dropped

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
        return self._aside.offer(shown, max(1, len(answer)))

    def close(self, timeout: float = 10.0) -> bool:
        """Writes what is left, and takes nothing more; whether all was done in time."""
        return self._aside.close(timeout)

    def _take(self, shown: _Shown) -> None:
        if not self._buffer:
            self._since = time.monotonic()
        self._buffer += shown.rows()

    def _flush_if_due(self, ending: bool) -> float | None:
        """Writes a file if it is time to; for how long it is not, None for as long as nothing comes."""
        left = self._since + self._seconds - time.monotonic()
        if not self._buffer:
            return None
        if not ending and len(self._buffer) < self._rows and left > 0:
            return left
        rows, self._buffer = self._buffer, []
        try:
            _write(self.folder, pl.DataFrame(rows, schema=SCHEMA, orient="row"))
            self.written += len(rows)
        except (OSError, pl.exceptions.PolarsError) as error:  # a full disk stops no service
            self.lost += len(rows)
            self.problem = " ".join(str(error).split())[:300]
        return None


def scan_impressions(folder: Path | str) -> pl.LazyFrame:
    """All impressions of a log, whoever is still writing to it; columns as `SCHEMA`.

    Raises:
        InputError: There is no such folder.
    """
    if not Path(folder).is_dir():
        raise InputError(f"there are no impressions at {folder}: not a folder")
    files = sorted(Path(folder).glob("*/*.parquet"))
    return pl.scan_parquet(files, schema=SCHEMA, glob=False) if files else pl.LazyFrame(schema=SCHEMA)


def join_events(
    impressions: pl.LazyFrame | pl.DataFrame,
    events: pl.LazyFrame | pl.DataFrame,
    within: timedelta,
    unit: str = "seconds",
) -> pl.DataFrame:
    """Which item that was shown was followed by an event of the same user with it.

    An event follows every impression of its item in the time before it, so that a click on what was shown twice counts
    for both; of several events, the first counts.

    Args:
        impressions: As `scan_impressions` gives them.
        events: user_id, item_id, timestamp and maybe type, as `serving.state.events.frame_of` gives them.
        within: For how long after an impression an event is its doing, the end included.
        unit: What the timestamps count, unless they are times already: see `features.time_units.UNITS`.

    Returns:
        One row an item that was shown, in the order of the impressions: request_id, asked_at, user_id, name, version,
        build_id, source, rank from 1, item_id, score, followed, after (how long), and type, if events have one.

    Raises:
        InputError: An unknown unit, or a column that is missing.
    """
    shown, events = impressions.lazy(), events.lazy()
    for what, frame, wanted in (
        ("impressions", shown, SCHEMA),
        ("events", events, ("user_id", "item_id", "timestamp")),
    ):
        there = frame.collect_schema().names()
        if missing := [one for one in wanted if one not in there]:
            raise InputError(f"the {what} have no column {missing[0]!r}")
    ids = [pl.col(one).cast(pl.String) for one in ("user_id", "item_id")]
    kind = [pl.col("type")] if "type" in events.collect_schema().names() else []
    happened = events.select(*ids, _moments(events.collect_schema()["timestamp"], unit).alias("at"), *kind)
    happened = happened.drop_nulls(["user_id", "item_id", "at"]).collect().sort("at", maintain_order=True)
    one = shown.with_row_index("n").filter(pl.col("item_ids").list.len() > 0).collect()
    one = one.with_columns(rank=pl.int_ranges(1, pl.col("item_ids").list.len() + 1, dtype=pl.Int64))
    one = one.explode("rank", "item_ids", "scores").rename({"item_ids": "item_id", "scores": "score"})
    joined = one.sort("asked_at", maintain_order=True).join_asof(
        happened,
        left_on="asked_at",
        right_on="at",
        by=["user_id", "item_id"],
        strategy="forward",
        tolerance=within,
        coalesce=False,
        check_sortedness=False,
    )
    followed = joined.with_columns(followed=pl.col("at").is_not_null(), after=pl.col("at") - pl.col("asked_at"))
    named = [*(one for one in SCHEMA if one not in ("item_ids", "scores")), "rank", "item_id", "score"]
    return followed.sort("n", "rank").select(*named, "followed", "after", *kind)


def _moments(dtype: pl.DataType, unit: str) -> pl.Expr:
    """Timestamps as times in UTC."""
    column, wanted = pl.col("timestamp"), pl.Datetime("us", "UTC")
    if isinstance(dtype, pl.Datetime):
        return (column if dtype.time_zone else column.dt.replace_time_zone("UTC")).cast(wanted)
    if unit not in UNITS:
        raise InputError(f"unit is one of {', '.join(UNITS)}, got {unit!r}")
    n = UNITS[unit]
    return (column * (10**6 // n) if n <= 10**6 else column // (n // 10**6)).cast(wanted)


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
