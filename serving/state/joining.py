"""Which of the items that were shown were followed by an event of their user."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from features.errors import InputError
from features.time_units import UNITS
from serving.state.impressions import SCHEMA


def join_events(
    impressions: pl.LazyFrame | pl.DataFrame,
    events: pl.LazyFrame | pl.DataFrame,
    within: timedelta,
    unit: str | None = None,
) -> pl.DataFrame:
    """Which item that was shown was followed by an event of the same user with it.

    An event follows every impression of its item in the time before it, so that a click on what was shown twice counts
    for both; of several events, the first counts. Where events' times count something coarser than impressions', those
    are cut to it: an event of the second in which an item was shown follows it, though it may have come just before.

    Args:
        impressions: As `scan_impressions` gives them.
        events: user_id, item_id, timestamp and maybe type, as `serving.state.events.frame_of` gives them.
        within: For how long after an impression an event is its doing, the end included.
        unit: What the timestamps count, see `features.time_units.UNITS`: seconds where not given. Of columns that are
            times already it says how fine they are, where that is coarser than their type.

    Returns:
        One row an item that was shown, in the order of the impressions: request_id, asked_at, user_id, name, version,
        build_id, source, rank from 1, item_id, score, followed, after (how long, in whole units of the events'
        times), and type, if events have one.

    Raises:
        InputError: An unknown unit, or a column that is missing.
    """
    shown, later = impressions.lazy(), events.lazy()
    for what, frame, wanted in (
        ("impressions", shown, SCHEMA),
        ("events", later, ("user_id", "item_id", "timestamp")),
    ):
        there = frame.collect_schema().names()
        if missing := [one for one in wanted if one not in there]:
            raise InputError(f"the {what} have no column {missing[0]!r}")
    ids = [pl.col(one).cast(pl.String) for one in ("user_id", "item_id")]
    kind = [pl.col("type")] if "type" in later.collect_schema().names() else []
    dtype = later.collect_schema()["timestamp"]
    step = _step(dtype, unit)
    told = later.select(*ids, _moments(dtype, unit).alias("at"), *kind).drop_nulls(["user_id", "item_id", "at"])
    happened = told.collect().sort("at", maintain_order=True)
    one = shown.with_row_index("n").filter(pl.col("item_ids").list.len() > 0).collect()
    one = one.with_columns(rank=pl.int_ranges(1, pl.col("item_ids").list.len() + 1, dtype=pl.Int64))
    one = one.explode("rank", "item_ids", "scores").rename({"item_ids": "item_id", "scores": "score"})
    one = one.with_columns(shown_at=pl.col("asked_at").dt.truncate(step))
    joined = one.sort("shown_at", maintain_order=True).join_asof(
        happened,
        left_on="shown_at",
        right_on="at",
        by=["user_id", "item_id"],
        strategy="forward",
        tolerance=within,
        coalesce=False,
        check_sortedness=False,
    )
    followed = joined.with_columns(followed=pl.col("at").is_not_null(), after=pl.col("at") - pl.col("shown_at"))
    named = [*(one for one in SCHEMA if one not in ("item_ids", "scores")), "rank", "item_id", "score"]
    return followed.sort("n", "rank").select(*named, "followed", "after", *kind)


def _step(dtype: pl.DataType, unit: str | None) -> str:
    """What the events' times count, as polars says it; nothing finer than impressions have."""
    if unit is not None and unit not in UNITS:
        raise InputError(f"unit is one of {', '.join(UNITS)}, got {unit!r}")
    if unit is None:
        unit = (
            {"ms": "milliseconds"}.get(dtype.time_unit, "microseconds") if isinstance(dtype, pl.Datetime) else "seconds"
        )
    return {"seconds": "1s", "milliseconds": "1ms"}.get(unit, "1us")


def _moments(dtype: pl.DataType, unit: str | None) -> pl.Expr:
    """Timestamps as times in UTC."""
    column, wanted = pl.col("timestamp"), pl.Datetime("us", "UTC")
    if isinstance(dtype, pl.Datetime):
        return (column if dtype.time_zone else column.dt.replace_time_zone("UTC")).cast(wanted)
    n = UNITS[unit or "seconds"]
    return (column * (10**6 // n) if n <= 10**6 else column // (n // 10**6)).cast(wanted)
