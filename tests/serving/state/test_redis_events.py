"""A real Redis: killed and back, full, without a disk, and without the replica that was asked for."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from serving.state.events import Event, StoreError
from serving.state.redis_events import RedisEvents
from serving.state.resting import Turnstile


def until(works, seconds=20):
    """Asks until it is answered."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return works()
        except StoreError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_was_acknowledged_is_there_when_redis_was_killed_and_is_back(redis_server):
    store, acknowledged, stop = RedisEvents(redis_server.url, keep=10**6), [], threading.Event()

    def post():
        n = 0
        while not stop.is_set():
            event = Event("ann", f"{n}", n, event_id=f"e{n}")
            try:
                store.append([event, Event(f"u{n % 5}", f"{n}", n, event_id=f"e{n}")])
            except StoreError:
                time.sleep(0.02)
                continue  # the same again: with its id it is kept once
            acknowledged.append(n)
            n += 1

    thread = threading.Thread(target=post)
    thread.start()
    for _ in range(3):
        already = len(acknowledged)
        deadline = time.monotonic() + 20
        while len(acknowledged) < already + 50 and time.monotonic() < deadline:
            time.sleep(0.01)
        redis_server.kill()
        with pytest.raises(StoreError, match=rf"redis://127.0.0.1:{redis_server.port}/0 does not answer"):
            store.since(["ann"])
        assert not store.health().works
        redis_server.start()
    stop.set()
    thread.join()
    assert len(acknowledged) > 100
    kept = until(lambda: store.since(["ann"]))[0]
    assert [one.timestamp for one in kept] in (acknowledged, [*acknowledged, len(acknowledged)])
    assert sum(map(len, store.since([f"u{n}" for n in range(5)]))) == len(kept)
    assert store.health().works


def test_a_server_that_is_away_is_not_waited_for_by_every_request(redis_server, monkeypatch):
    store, asked = RedisEvents(redis_server.url), []
    store.append([Event("ann", "tea", 1)])
    redis_server.kill()
    store._turnstile = Turnstile(first=1e9, longest=1e9)
    with pytest.raises(StoreError):
        store.since(["ann"])
    monkeypatch.setattr(store, "_looking", asked)
    with pytest.raises(StoreError, match="does not answer"):
        store.since(["ann"])
    monkeypatch.undo()
    redis_server.start()
    assert store.append([Event("ann", "ink", 2)]) == 1  # a post asks nevertheless, and what it finds out is known
    assert [one.item_id for one in store.since(["ann"])[0]] == ["tea", "ink"]


def test_a_server_that_says_nothing_holds_one_thread_at_a_time(monkeypatch):
    """Of all who look for events and post some while it is away, one waits; the others are told at once."""
    import redis

    waiting, most, asked, lock = [0], [0], [0], threading.Lock()

    def silent(self, *arguments, **settings):
        with lock:
            waiting[0], asked[0] = waiting[0] + 1, asked[0] + 1
            most[0] = max(most[0], waiting[0])
        time.sleep(0.05)
        with lock:
            waiting[0] -= 1
        raise redis.TimeoutError("Timeout reading from socket")

    with socket.create_server(("127.0.0.1", 0)) as server:
        store = RedisEvents(f"redis://127.0.0.1:{server.getsockname()[1]}/0", patience=0.1)
        with pytest.raises(StoreError):
            store.since(["ann"])  # it is known to be away
        monkeypatch.setattr("redis.connection.ConnectionPool.get_connection", silent)
        refused, stop = [0] * 8, time.monotonic() + 1.5

        def ask(n):
            while time.monotonic() < stop:
                try:
                    store.since(["ann"]) if n % 2 else store.append([Event("ann", "tea", 1)])
                except StoreError:
                    refused[n] += 1
                time.sleep(0.002)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == [1] and asked[0] >= 2
    assert sum(refused) > 3 * asked[0]


def test_who_looks_for_events_waits_once_and_shortly():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisEvents(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        told = store._looking.connection_pool.connection_kwargs
        assert told["socket_timeout"] <= 0.5 and told["socket_connect_timeout"] <= 0.5
        with pytest.raises(StoreError, match="Timeout"):
            store.since(["ann"])
        silent.settimeout(1)
        taken = 0
        with contextlib.suppress(TimeoutError):
            while True:
                silent.accept()[0].close()
                taken += 1
    assert taken == 1


def test_a_server_that_takes_connections_and_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://user:secret@127.0.0.1:{silent.getsockname()[1]}/0"
        store = RedisEvents(url, patience=0.1)
        for ask in (lambda: store.since(["ann"]), lambda: store.append([Event("ann", "tea", 1)])):
            with pytest.raises(StoreError, match="does not answer") as refused:
                ask()
            assert "secret" not in str(refused.value)
        assert "secret" not in store.health().where


def test_a_full_server_refuses_and_keeps_what_it_has(redis_server):
    store = RedisEvents(redis_server.url, keep=10**6)
    store.append([Event("ann", "tea", 1)])
    store._redis.config_set("maxmemory", 3_000_000)
    n = 0
    with pytest.raises(StoreError, match=r"refuses: command not allowed when used memory > 'maxmemory'"):
        while n < 3_000:
            store.append([Event("bo", "x" * 500, m) for m in range(100)])
            n += 1
    assert store.since(["ann"]) == [[Event("ann", "tea", 1)]]
    assert len(store.since(["bo"])[0]) >= 100 * n
    assert store.erase(["bo"]) >= 100 * n
    assert store.append([Event("ann", "ink", 2)]) == 1


def test_an_answer_that_was_lost_does_not_keep_events_twice(shared_redis, monkeypatch):
    """The first try is carried out, and its answer never comes: the second one is of the same events."""
    import redis

    store = RedisEvents(shared_redis.url, prefix="lost:")
    store.since(["ann"])
    answers, read = [], redis.connection.Connection.read_response

    def lose_one(self, *arguments, **settings):
        found = read(self, *arguments, **settings)
        if isinstance(found, list):
            answers.append(found)
            if len(answers) == 1:
                self.disconnect()
                raise redis.ConnectionError("lost")
        return found

    monkeypatch.setattr("redis.connection.Connection.read_response", lose_one)
    store.append([Event("ann", "tea", 1), Event("ann", "tea", 1)])
    monkeypatch.undo()
    assert answers[0] == [[2, 0]]  # what the lost answer said: both were new
    assert store.since(["ann"]) == [[Event("ann", "tea", 1)] * 2]


def test_without_the_replicas_that_were_asked_for_nothing_is_acknowledged(shared_redis):
    store = RedisEvents(shared_redis.url, replicas=1, prefix="replicas:", patience=0.4)
    with pytest.raises(StoreError, match=r"0 replicas of .* have received the events, and 1 should"):
        store.append([Event("ann", "tea", 1)])


def test_what_a_server_does_not_promise_is_noticed(redis_server):
    store = RedisEvents(redis_server.url)
    assert store.health().notice is None
    for name, value, words in (
        ("appendfsync", "everysec", "loses up to two seconds of events in a power cut"),
        ("appendonly", "no", "has no append-only file"),
        ("maxmemory-policy", "allkeys-lru", "forgets users when its memory is full"),
    ):
        store._redis.config_set("maxmemory", 100_000_000)
        store._redis.config_set(name, value)
        assert words in store.health().notice
        assert store.health().works
