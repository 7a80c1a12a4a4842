"""What every store promises: order, bounds, repeats, erasure, and that others see it at once."""

from __future__ import annotations

import random
import threading

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import InputError
from serving.resolve import Resolved
from serving.state.events import Event, frame_of
from serving.state.stores import VARIABLE, open_events, place_of


def test_events_are_given_oldest_first_and_of_one_time_as_they_came(store):
    assert store.append([Event("ann", "tea", 5), Event("bo", "cup", 1), Event("ann", "ink", -3)]) == 3
    assert store.append([Event("ann", "pot", 5), Event("ann", "jar", 5), Event("ann", "tea", 2**63 - 1)]) == 3
    assert store.append([Event("ann", "oil", -(2**63), "view", "x")]) == 1
    ann, nobody, bo, again = store.since(["ann", "nobody", "bo", "ann"])
    assert [one.item_id for one in ann] == ["oil", "ink", "tea", "pot", "jar", "tea"]
    assert ann[0] == Event("ann", "oil", -(2**63), "view", "x")
    assert (nobody, bo, again) == ([], [Event("bo", "cup", 1)], ann)
    assert [one.timestamp for one in store.since(["ann"], 5)[0]] == [5, 5, 5, 2**63 - 1]
    assert store.since(["ann"], 6)[0] == ann[-1:]
    assert store.append([]) == 0 and store.since([]) == []


def test_the_trails_of_users_are_their_latest_events_without_the_rest(make_store, monkeypatch):
    store, kinds = make_store(keep=30), ["view", None, "buy"]
    random.seed(2)
    store.append(
        [Event(random.choice(["ann", 17]), n % 9, random.randrange(-9, 9), random.choice(kinds)) for n in range(50)]
    )
    store.append([Event("bo", "tea", 2**63 - 1), Event("bo", "ink", -(2**63))])
    users = ["ann", 17, "nobody", "bo", "ann"]
    for most in (1_000, 7):
        for module in ("redis_events", "sqlite_events"):
            monkeypatch.setattr(f"serving.state.{module}.READ", most)
        for types in (None, {"buy"}, {None, "view"}, ()):
            for mine, trail in zip(store.since(users), store.trails(users, types), strict=True):
                mine = [one for one in mine[-most:] if types is None or one.type in types]
                assert trail.item_ids == [one.item_id for one in mine]
                assert trail.times.dtype == np.int64 and trail.times.tolist() == [one.timestamp for one in mine]
    assert store.trails([]) == []


def test_an_integer_and_its_text_are_one_id(store):
    store.append([Event(17, 2**63 - 1, 1), Event("17", "3", 2), Event("017", "4", 3)])
    assert [one.item_id for one in store.since([17])[0]] == ["9223372036854775807", "3"]
    assert store.since(["17"]) == store.since([17])
    assert store.erase([17]) == 2
    assert len(store.since(["017"])[0]) == 1


def test_an_event_with_an_id_of_its_own_is_kept_once_for_its_user(store, make_store):
    assert store.append([Event("ann", "tea", 1, event_id="e1"), Event("ann", "tea", 9, event_id="e1")]) == 1
    assert make_store().append([Event("ann", "ink", 2, event_id="e1"), Event("bo", "tea", 2, event_id="e1")]) == 1
    assert store.append([Event("ann", "tea", 1), Event("ann", "tea", 1)]) == 2  # without one, twice is twice
    assert [one.item_id for one in store.since(["ann"])[0]] == ["tea"] * 3


def test_the_latest_events_of_each_user_are_kept(make_store):
    store = make_store(keep=5)
    times = list(range(100))
    random.Random(0).shuffle(times)
    for start in range(0, 100, 7):
        store.append([Event("ann", f"i{time}", time) for time in times[start : start + 7]])
        store.append([Event("bo", "tea", start)])
        sofar = sorted(times[: start + 7])[-5:]
        assert [one.timestamp for one in store.since(["ann"])[0]] == sofar
    assert [one.timestamp for one in store.since(["bo"])[0]] == [70, 77, 84, 91, 98]
    # all of one time: those that came last
    store.append([Event("cy", f"i{n}", 1) for n in range(50)])
    assert [one.item_id for one in store.since(["cy"])[0]] == [f"i{n}" for n in range(45, 50)]


def test_what_is_discarded_is_counted(make_store):
    store, told = make_store(keep=20), []
    store.after_trim = told.append
    random.seed(3)
    posted = {"ann": 0, "bo": 0}
    for n in range(60):
        users = random.choices(["ann", "bo"], k=random.randrange(1, 4))
        events = [Event(user, "tea", random.randrange(99), event_id=f"{n}-{m}") for m, user in enumerate(users)]
        assert store.append(events) == len(users)
        for user in users:
            posted[user] += 1
        expected = sum(max(0, many - 20) for many in posted.values())
        assert store.health().trimmed == sum(told) == expected
    assert expected > 20 and 0 not in told
    assert make_store(keep=20).health().trimmed == 0


def test_who_is_erased_is_gone_and_may_come_again(store, make_store):
    store.append([Event(user, "tea", n, event_id=f"{n}") for user in ("ann", "bo") for n in range(3)])
    other = make_store()
    assert other.erase(["ann", "nobody", "ann"]) == 3
    assert store.since(["ann", "bo"])[0] == [] and len(store.since(["bo"])[0]) == 3
    assert store.erase(["ann"]) == 0 and store.erase([]) == 0
    assert store.append([Event("ann", "ink", 7, event_id="1")]) == 1
    assert [one.item_id for one in other.since(["ann"])[0]] == ["ink"]


def test_everything_is_what_each_user_did(store):
    random.seed(1)
    events = [Event(f"u{random.randrange(40)}", f"i{n}", random.randrange(9), event_id=str(n)) for n in range(700)]
    store.append(events)
    users = sorted({one.user_id for one in events})
    expected = [one for user in users for one in events if one.user_id == user]
    expected.sort(key=lambda one: (one.user_id, one.timestamp))
    assert list(store.everything()) == expected
    frame = frame_of(store.everything())
    assert frame.schema["timestamp"] == pl.Int64 and frame.height == 700
    assert frame["item_id"].to_list() == [one.item_id for one in expected]


def test_many_threads_write_and_read_at_once(store):
    def write(n):
        for m in range(10):
            store.append([Event("ann", f"{n}-{m}", m), Event(f"u{n}", "tea", m)])
            assert len(store.since([f"u{n}"])[0]) == m + 1

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.item_id for one in store.since(["ann"])[0]) == sorted(
        f"{n}-{m}" for n in range(6) for m in range(10)
    )


WORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(["a", "17", "\x00"])
EVENTS = st.lists(
    st.builds(
        Event,
        WORD,
        WORD | st.integers(-(2**63), 2**63 - 1),
        st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1),
        st.none() | WORD,
        st.none() | WORD,
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(posts=st.lists(EVENTS, max_size=4), erased=st.lists(WORD, max_size=2))
def test_it_is_a_sorted_list_that_knows_what_it_has_seen(make_store, posts, erased):
    store = make_store(keep=8)
    store.erase([one.user_id for one in store.everything()])
    slow: dict[str, list[Event]] = {}
    for post in posts:
        new = 0
        for one in post:
            mine = slow.setdefault(one.user_id, [])
            if one.event_id is None or one.event_id not in [other.event_id for other in mine]:
                mine.append(one)
                new += 1
        assert store.append(post) == new
    counts = {user: len(mine) for user, mine in slow.items()}
    if max(counts.values(), default=0) > 8:
        return  # what was dropped meanwhile depends on the store's slack
    assert store.erase(erased) == sum(len(slow.pop(user, [])) for user in set(erased))
    users = sorted(slow)
    assert store.since(users) == [sorted(slow[user], key=lambda one: one.timestamp) for user in users]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"user_id": 1.5}, "user_id of an event is a string or an integer, got '1.5'"),
        ({"item_id": None}, "item_id of an event is a string or an integer, got 'None'"),
        ({"item_id": True}, "item_id of an event"),
        ({"user_id": "\ud800"}, "user_id of an event"),
        ({"timestamp": 2**63}, "timestamp of an event is a whole number of 64 bits"),
        ({"timestamp": 1.0}, "timestamp of an event is a whole number of 64 bits"),
    ],
)
def test_what_is_no_event_is_named(wrong, words):
    with pytest.raises(InputError, match=words):
        Event(**{"user_id": "ann", "item_id": "tea", "timestamp": 1, **wrong})


def test_where_events_are_is_what_is_said_else_the_environment(tmp_path, monkeypatch, shared_redis):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(InputError, match="no store of events is named: give a file or an address, or set RECSYS_HIST"):
        open_events()
    with pytest.raises(InputError, match=r"events are kept in a file, or at redis://.*; not http:"):
        open_events("http://localhost/0")
    with pytest.raises(InputError, match=r"there are no events at .*missing"):
        open_events(tmp_path / "missing", create=False)
    assert not (tmp_path / "missing").exists()
    with pytest.raises(InputError, match="the address of Redis cannot be used"):
        open_events("redis://localhost:port/0")
    assert open_events(f"sqlite:///{tmp_path}/a.sqlite").path == tmp_path / "a.sqlite"
    monkeypatch.setenv(VARIABLE, shared_redis.url)
    assert open_events().health().works
    assert open_events().where == shared_redis.url
    assert place_of(Resolved(tmp_path / "bundle", "b")) == shared_redis.url
    assert open_events(tmp_path / "b.sqlite").path == tmp_path / "b.sqlite"
