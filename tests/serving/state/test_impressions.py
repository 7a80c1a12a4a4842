"""The log of answers: whole files, bounds, a full disk, and the join with what users did next."""

from __future__ import annotations

import os
import resource
import threading
import time
from datetime import UTC, datetime

import polars as pl
import pytest

from features.errors import InputError
from serving.lists.recommendations import Recommendations
from serving.state.background_queue import BackgroundQueue
from serving.state.erasing import erase_impressions
from serving.state.impressions import SCHEMA, ImpressionLog, scan_impressions

IDENTITY = {"name": "shop", "version": "3", "build_id": "b1"}
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def answer(*users, items=("tea", "ink")):
    n = len(users)
    return Recommendations(list(users), [list(items)] * n, [[0.5, 0.25][: len(items)]] * n, ["user"] * n, [0] * n)


def wait_until(is_so):
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_answer_is_a_row_a_user(tmp_path, integer_generator):
    log = ImpressionLog(tmp_path / "log")
    shown = integer_generator.recommend([2**53 + 1, None], [None, [1001]], k=3)
    assert log.put("r1", integer_generator.identity, shown, START)
    assert log.put("r2", IDENTITY, answer("ann"))
    assert scan_impressions(tmp_path / "log").collect().height == 0  # and its schema is what it always is
    assert log.close() and (log.written, log.lost, log.dropped) == (3, 0, 0)
    found = scan_impressions(tmp_path / "log").collect().sort("request_id", maintain_order=True)
    assert dict(found.schema) == SCHEMA
    assert found["user_id"].to_list() == [str(2**53 + 1), None, "ann"]
    assert found["item_ids"].to_list()[:2] == [[str(one) for one in items] for items in shown.item_ids]
    assert found["scores"].to_list()[:2] == shown.scores
    assert found["source"].to_list()[:2] == shown.sources
    assert found["build_id"].to_list() == [integer_generator.bundle.manifest.build_id] * 2 + ["b1"]
    assert found["asked_at"][0] == START
    assert found["asked_at"][2] > START or datetime.now(UTC) < START
    assert not log.put("r3", IDENTITY, answer("ann"))


def test_files_are_rotated_by_rows_and_by_seconds(tmp_path):
    log = ImpressionLog(tmp_path, rows=4, seconds=1000)
    for n in range(10):
        log.put(f"r{n}", IDENTITY, answer("ann"))
    wait_until(lambda: log.written == 8)
    assert [pl.read_parquet(path).height for path in tmp_path.glob("*/*.parquet")] == [4, 4]
    log.close()
    assert scan_impressions(tmp_path).collect().height == 10
    soon = ImpressionLog(tmp_path / "soon", rows=1000, seconds=0.05)
    soon.put("r", IDENTITY, answer("ann"))
    wait_until(lambda: soon.written == 1)
    assert len(list((tmp_path / "soon").glob("*/*.parquet"))) == 1
    assert not list(tmp_path.rglob(".*"))


def test_what_waits_for_its_file_is_held_as_columns(tmp_path):
    log = ImpressionLog(tmp_path)
    for n in range(40):
        assert log.put(f"r{n}", IDENTITY, answer(*(f"u{n}-{m}" for m in range(100)), items=("tea", f"i{n}")))
    wait_until(lambda: log._held == 4_000 and not log._queue._waiting)
    assert not log._buffer and [len(one) for one in log._frames] == [1_000] * 4
    assert log.put("r40", IDENTITY, answer("ann"))
    assert log.close() and log.written == 4_001
    found = scan_impressions(tmp_path).collect()
    assert found["user_id"].to_list() == [*(f"u{n}-{m}" for n in range(40) for m in range(100)), "ann"]
    assert found["item_ids"].to_list()[::100] == [*(["tea", f"i{n}"] for n in range(40)), ["tea", "ink"]]


def test_lists_that_are_none_cost_themselves_and_not_the_log(tmp_path):
    log, told = ImpressionLog(tmp_path, rows=1), []
    log.failed = told.append
    log.put("r1", IDENTITY | {"name": "\ud800"}, answer("ann"))
    wait_until(lambda: log.lost == 1)
    assert told == [log.problem]
    log.put("r2", IDENTITY, Recommendations(["ann"], [], [], [], []))
    wait_until(lambda: len(told) == 2)
    log.put("r3", IDENTITY, answer("bo"))
    assert log.close() and log.written == 1 and told[1].startswith("ValueError: zip()")


def test_what_comes_faster_than_it_is_written_is_dropped_and_counted(tmp_path, monkeypatch):
    writing, go_on = threading.Event(), threading.Event()

    def slow(folder, frame):
        writing.set()
        assert go_on.wait(30)

    monkeypatch.setattr("serving.state.impressions._write", slow)
    log = ImpressionLog(tmp_path, rows=1, most=10)
    log.put("r", IDENTITY, answer("ann"))
    assert writing.wait(30)
    taken = [log.put("r", IDENTITY, answer("ann", "bo")) for _ in range(8)]
    assert taken == [True] * 4 + [False] * 4 and log.dropped == 8
    go_on.set()
    assert log.close() and log.written == 9


def test_a_full_disk_loses_impressions_and_nothing_else(tmp_path):
    log, told = ImpressionLog(tmp_path, rows=1), []
    log.failed = told.append
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        log.put("r1", IDENTITY, answer("ann", "bo"))
        wait_until(lambda: log.lost == 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told == [log.problem] and "too large" in log.problem
    log.put("r2", IDENTITY, answer("cy"))
    log.close()
    assert scan_impressions(tmp_path).collect()["user_id"].to_list() == ["cy"]
    assert not list(tmp_path.rglob(".*"))


def test_what_cannot_be_is_refused_before_anything_is_shown(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="impressions cannot be kept at"):
        ImpressionLog(tmp_path / "file")
    with pytest.raises(InputError, match="rows, seconds and most above 0, got 0"):
        ImpressionLog(tmp_path, rows=0)
    with pytest.raises(InputError, match="there are no impressions at"):
        scan_impressions(tmp_path / "nowhere")


def test_what_somebody_who_was_killed_has_left_is_taken_away(tmp_path):
    (tmp_path / "2026-01-31").mkdir()
    old, young = (tmp_path / "2026-01-31" / f".{name}.part" for name in ("old", "young"))
    for part in (old, young):
        part.touch()
    os.utime(old, (0, 0))
    ImpressionLog(tmp_path).close()
    assert not old.exists() and young.exists()


def test_users_are_erased_from_files_that_hold_them_and_from_no_other(tmp_path):
    log = ImpressionLog(tmp_path, rows=3)
    for users in (("ann", "bo", None), ("bo", "cy", 17), ("dan", "eve", "dan")):
        log.put("r", IDENTITY, answer(*users))
        wait_until(lambda: log.written % 3 == 0 and not log._queue._waiting)
    log.close()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.parquet")}
    assert erase_impressions(tmp_path, ["bo", 17, "nobody"]) == 3
    left = scan_impressions(tmp_path).collect()["user_id"].to_list()
    assert sorted(left, key=str) == sorted(["ann", None, "cy", "dan", "eve", "dan"], key=str)
    assert sum(path.stat().st_mtime_ns == before[path] for path in before) == 1
    assert not list(tmp_path.rglob(".*"))
    assert erase_impressions(tmp_path, ["bo"]) == 0
    with pytest.raises(InputError, match="there are no impressions at"):
        erase_impressions(tmp_path / "nowhere", ["bo"])


def test_a_job_that_fails_ends_nothing():
    done, told, go_on = [], [], threading.Event()

    def work(job):
        assert go_on.wait(30)
        if job == 2:
            raise ValueError(job)
        done.append(job)

    queue = BackgroundQueue("test", work, most=10)
    assert all(queue.offer(n) for n in range(4))
    queue.after_failure = told.append
    go_on.set()
    assert queue.close() and done == [0, 1, 3] and queue.failed == 1 and told == ["ValueError: 2"]
