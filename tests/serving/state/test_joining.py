"""The join of what was shown with what users did next, against one that looks at each pair."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from features.errors import InputError
from features.time_units import UNITS
from serving.lists.recommendations import Recommendations
from serving.state.events import Event, frame_of
from serving.state.impressions import SCHEMA, ImpressionLog
from serving.state.joining import join_events
from serving.state.stores import open_events

IDENTITY = {"name": "shop", "version": "3", "build_id": "b1"}
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
STATE = Path(__file__).parents[3] / "docs" / "state.md"


def slow_join(shown, events, within):
    out = []
    for row in shown.iter_rows(named=True):
        for rank, (item, score) in enumerate(zip(row["item_ids"], row["scores"], strict=True), start=1):
            after = [
                (one.timestamp, n)
                for n, one in enumerate(events)
                if (one.user_id, one.item_id) == (row["user_id"], item)
                and row["asked_at"] <= datetime.fromtimestamp(one.timestamp, UTC) <= row["asked_at"] + within
            ]
            first = events[min(after)[1]] if after else None
            waited = None if first is None else datetime.fromtimestamp(first.timestamp, UTC) - row["asked_at"]
            out.append((row["request_id"], rank, item, score, bool(after), waited, first and first.type))
    return out


@pytest.mark.parametrize("seed", range(5))
def test_an_event_follows_what_was_shown_before_it(seed):
    choose = random.Random(seed)
    users, items, second = ["ann", "bo", "17", None], ["tea", "ink", "cup", "9"], int(START.timestamp())
    rows = []
    for n in range(60):
        shown = choose.sample(items, choose.randrange(4))
        told = (choose.choice(users), *IDENTITY.values(), shown, [0.5] * len(shown), "user")
        rows.append((f"r{n}", START + timedelta(seconds=choose.randrange(40)), *told))
    impressions = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    events = [
        Event(choose.choice(["ann", "bo", 17, "cy"]), choose.choice(items), second + choose.randrange(60), kind)
        for kind in ["view", "buy", None] * 10
    ]
    within = timedelta(seconds=7)
    columns = ["request_id", "rank", "item_id", "score", "followed", "after", "type"]
    expected = slow_join(impressions, events, within)
    frame = frame_of(events)
    assert join_events(impressions.lazy(), frame, within).select(columns).rows() == expected
    assert sum(row[4] for row in expected) > 3
    for unit, n in (("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)):
        finer = frame.with_columns(pl.col("timestamp") * n)
        assert join_events(impressions, finer, within, unit).select(columns).rows() == expected
    times = frame.with_columns(pl.from_epoch("timestamp", "s")).drop("type")
    assert join_events(impressions, times, within).rows() == [
        row[:-1] for row in join_events(impressions, frame, within).rows()
    ]


def test_a_join_names_what_it_lacks():
    shown, events = pl.DataFrame(schema=SCHEMA), frame_of([])
    assert join_events(shown, events, timedelta(hours=1)).height == 0
    with pytest.raises(InputError, match="the events have no column 'item_id'"):
        join_events(shown, events.drop("item_id"), timedelta(hours=1))
    with pytest.raises(InputError, match="the impressions have no column 'asked_at'"):
        join_events(shown.drop("asked_at"), events, timedelta(hours=1))
    with pytest.raises(InputError, match=r"unit is one of seconds, .*, got 'days'"):
        join_events(shown, events, timedelta(hours=1), "days")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("seed", range(3))
def test_impressions_are_cut_to_what_the_events_times_count(seed, unit):
    """Asked at any microsecond, and clicked soon after: no click is lost to the rounding of its time."""
    choose, begin = random.Random(seed), int(START.timestamp())
    step = {"seconds": timedelta(seconds=1), "milliseconds": timedelta(milliseconds=1)}.get(unit, timedelta(0, 0, 1))
    rows, events, moments = [], [], []
    for n in range(80):
        asked, shown = START + timedelta(microseconds=choose.randrange(20_000_000)), ["tea", "ink"]
        rows.append((f"r{n}", asked, choose.choice(["ann", "bo"]), *IDENTITY.values(), shown, [0.5, 0.25], "user"))
        if choose.random() < 0.5:
            moment = asked + timedelta(microseconds=choose.choice([0, 1, 300, 40_000, 1_500_000]))
            moments.append(moment - (moment - START) % step)
            events.append(Event(rows[-1][2], choose.choice(shown), 0, choose.choice(["view", "buy"])))
    impressions = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    frame = frame_of(events)
    per_second = UNITS[unit]
    counted = [(one - START) // timedelta(microseconds=1) * per_second // 10**6 + begin * per_second for one in moments]
    frame = frame.with_columns(timestamp=pl.Series(counted, dtype=pl.Int64))
    within = timedelta(seconds=2)
    expected = slow_join_of_moments(impressions, events, moments, within, step)
    columns = ["request_id", "rank", "followed", "after", "type"]
    assert join_events(impressions, frame, within, unit).select(columns).rows() == expected
    assert sum(one[2] for one in expected) >= len(events)  # each of them follows what it was made after
    times = frame.with_columns(timestamp=pl.Series(moments, dtype=pl.Datetime("us", "UTC")))
    assert join_events(impressions, times, within, unit).select(columns).rows() == expected


def slow_join_of_moments(shown, events, moments, within, step):
    out = []
    for row in shown.iter_rows(named=True):
        asked = row["asked_at"] - (row["asked_at"] - START) % step
        for rank, item in enumerate(row["item_ids"], start=1):
            after = [
                (moment, n)
                for n, (one, moment) in enumerate(zip(events, moments, strict=True))
                if (one.user_id, one.item_id) == (row["user_id"], item) and asked <= moment <= asked + within
            ]
            first = min(after) if after else None
            found = (True, first[0] - asked, events[first[1]].type) if first else (False, None, None)
            out.append((row["request_id"], rank, *found))
    return out


def test_the_example_of_the_page_runs_as_it_stands(tmp_path, monkeypatch):
    examples = re.findall(r"```python\n(.*?)```", STATE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [one for one in examples if "join_events" in one]
    monkeypatch.chdir(tmp_path)
    asked = datetime(2026, 1, 31, 12, 0, 0, 900_000, tzinfo=UTC)
    log = ImpressionLog("impressions")
    answer = Recommendations(["ann", "bo"], [["tea", "ink"]] * 2, [[0.5, 0.25]] * 2, ["user"] * 2, [0] * 2)
    log.put("r1", IDENTITY, answer, asked)
    assert log.close()
    store = open_events("shop.events.sqlite")
    store.append([Event("ann", "tea", int(asked.timestamp())), Event("bo", "ink", int(asked.timestamp()) + 7200)])
    store.close()
    names: dict = {}
    *most, last = example.strip().splitlines()
    exec(compile("\n".join([*most, f"told = {last}"]), str(STATE), "exec"), names)
    names["store"].close()
    assert names["told"].sort("rank").rows() == [("3", 1, 0.5), ("3", 2, 0.0)]
