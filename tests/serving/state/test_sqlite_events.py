"""The file: what was acknowledged outlives kill -9 and a full disk, and what was erased is in no byte of it."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving.state import sqlite_file
from serving.state.events import Event, StoreError
from serving.state.sqlite_events import SQLiteEvents

ROOT = Path(__file__).parents[3]

#: posts until it is ended, and says of each post that it was acknowledged
WRITER = """
import itertools, resource, sys
from serving.state.events import Event, StoreError
from serving.state.sqlite_events import SQLiteEvents
path, name, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = SQLiteEvents(path, keep=10**6)
if most:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
for n in itertools.count():
    try:
        store.append([Event(name, f"{n}-{m}", n) for m in range(3)])
    except StoreError as error:
        print("refused", error, flush=True)
        break
    print(n, flush=True)
"""


def writer(path, name, most=0):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(most)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_several_processes_on_one_file_lose_nothing_when_they_are_killed(tmp_path):
    path = tmp_path / "events.sqlite"
    writers = [writer(path, name) for name in ("ann", "bo")]
    acknowledged = {}
    for name, process in zip(("ann", "bo"), writers, strict=True):
        for n in range(40):
            assert process.stdout.readline() == f"{n}\n"  # and none is refused
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split("\n")[:-1]  # a line that was cut short acknowledges nothing
        acknowledged[name] = int(rest[-1]) if rest else 39
    store = SQLiteEvents(path, keep=10**6)
    for name, last in acknowledged.items():
        kept = [one.item_id for one in store.since([name])[0]]
        assert last >= 39
        whole = len(kept) // 3
        assert kept == [f"{n}-{m}" for n in range(whole) for m in range(3)]  # of no post a part
        assert last + 1 <= whole <= last + 2  # the one that was being answered may be there
    assert store.append([Event("ann", "tea", 10**6)]) == 1


def test_a_full_disk_refuses_and_keeps_what_was_acknowledged(tmp_path):
    path = tmp_path / "events.sqlite"
    lines = writer(path, "ann", 400_000).communicate()[0].splitlines()
    assert lines[-1].startswith(f"refused the events {path} cannot be used: ")
    store = SQLiteEvents(path, keep=10**6)
    last = int(lines[-2])
    assert [one.item_id for one in store.since(["ann"])[0]] == [f"{n}-{m}" for n in range(last + 1) for m in range(3)]


def test_after_a_full_disk_it_goes_on_by_itself(tmp_path):
    path = tmp_path / "events.sqlite"
    store = SQLiteEvents(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        n = 0
        with pytest.raises(StoreError):
            while True:
                store.append([Event("ann", "tea", n)])
                n += 1
        assert len(store.since(["ann"])[0]) == n
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.append([Event("ann", "ink", n)]) == 1
    assert [one.timestamp for one in store.since(["ann"])[0]] == list(range(n + 1))


def test_processes_that_open_a_new_file_together_do_not_meet(tmp_path):
    path = tmp_path / "events.sqlite"
    code = (
        "import sys; from serving.state.sqlite_events import *; "
        "SQLiteEvents(sys.argv[1]).append([Event(sys.argv[2], 'tea', 1)])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), f"u{n}"], cwd=ROOT) for n in range(4)]
    assert [one.wait() for one in processes] == [0] * 4
    assert len(list(SQLiteEvents(path).everything())) == 4


def open_at_once(folder, together, problems):
    for n in range(15):
        together.wait(60)
        try:
            SQLiteEvents(folder / f"{n}.sqlite").close()
        except StoreError as error:
            problems.put(str(error))
    problems.put(None)


def test_processes_that_open_new_files_at_the_same_moment_take_no_file_for_something_else(tmp_path):
    context = multiprocessing.get_context("fork")
    together, problems = context.Barrier(6), context.Queue()
    processes = [context.Process(target=open_at_once, args=(tmp_path, together, problems)) for _ in range(6)]
    for process in processes:
        process.start()
    told = list(iter(lambda: problems.get(timeout=60), None))
    for _ in processes[1:]:
        told += iter(lambda: problems.get(timeout=60), None)
    for process in processes:
        process.join()
    assert told == []


def test_a_file_that_is_made_while_it_is_looked_at_is_taken(tmp_path, monkeypatch):
    path, look = tmp_path / "events.sqlite", sqlite_file._is_ours

    class Interrupted:
        """A connection: somebody else makes the tables after its first look at the file."""

        def __init__(self, database):
            self.database, self.others = database, None

        def execute(self, statement, *rest):
            found = self.database.execute(statement, *rest)
            if statement == "PRAGMA application_id" and self.others is None:
                found = iter([found.fetchone()])
                self.others = threading.Thread(target=make_aside)
                self.others.start()
                self.others.join(0.3)
                return type("Found", (), {"fetchone": lambda _: next(found)})()
            return found

    def make_aside():
        monkeypatch.setattr(sqlite_file, "_is_ours", look)
        SQLiteEvents(path).close()

    interrupted = []

    def looked(database, path):
        interrupted.append(Interrupted(database))
        return look(interrupted[0], path)

    monkeypatch.setattr(sqlite_file, "_is_ours", looked)
    store = SQLiteEvents(path)
    interrupted[0].others.join()
    assert store.append([Event("ann", "tea", 1)]) == 1


def test_what_is_erased_is_in_no_byte_of_the_files(tmp_path):
    store, other = (SQLiteEvents(tmp_path / "events.sqlite") for _ in range(2))
    store.append([Event("someone-particular", f"item-{n}", n) for n in range(200)])
    store.append([Event("bo", "tea", 1)])
    assert other.since(["bo"]) == [[Event("bo", "tea", 1)]]

    def there():
        return any(b"someone-particular" in path.read_bytes() for path in tmp_path.iterdir())

    assert there()
    assert other.erase(["someone-particular"]) == 200
    assert not there()


def test_a_writer_waits_for_another_one_and_not_for_ever(tmp_path):
    path = tmp_path / "events.sqlite"
    store = SQLiteEvents(path, wait=0.1)
    store.append([Event("ann", "tea", 1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked"):
        store.append([Event("ann", "ink", 2)])
    assert len(store.since(["ann"])[0]) == 1  # readers do not wait
    other.execute("ROLLBACK")
    assert store.append([Event("ann", "ink", 2)]) == 1


def test_what_is_something_else_is_refused_and_not_touched(tmp_path):
    text, database = tmp_path / "text", tmp_path / "mlflow.db"
    text.write_text("no database, " * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        SQLiteEvents(text)
    sqlite3.connect(database).execute("CREATE TABLE runs (id)")
    before = database.read_bytes()
    with pytest.raises(StoreError, match=r"mlflow\.db is a database of something else, and keeps no events"):
        SQLiteEvents(database)
    assert database.read_bytes() == before
    with pytest.raises(StoreError, match="cannot be kept"):
        SQLiteEvents(text / "events.sqlite")
    with pytest.raises(StoreError, match="cannot be used"):
        SQLiteEvents(tmp_path)
    later = tmp_path / "later.sqlite"
    SQLiteEvents(later).close()
    changed = sqlite3.connect(later)
    changed.execute("PRAGMA user_version = 9")
    changed.close()
    with pytest.raises(StoreError, match="are of format 9, and this version reads format 1"):
        SQLiteEvents(later)


def test_health_says_what_is_wrong(tmp_path):
    store = SQLiteEvents(tmp_path / "events.sqlite")
    assert store.health().works and store.health().notice is None
    store.close()
    (tmp_path / "events.sqlite").write_bytes(b"something else" * 99)
    assert "not a database" in store.health().problem


def test_posts_that_come_together_are_refused_together_and_each_is_told(tmp_path):
    store, told = SQLiteEvents(tmp_path / "events.sqlite"), []
    turn, write = threading.Event(), store._write

    def refuse(posts):
        assert turn.wait(30)
        if len(posts) > 1:
            told.append(len(posts))
            raise StoreError("the disk is full")
        write(posts)

    store._write = refuse
    answers = {}

    def post(n):
        try:
            answers[n] = store.append([Event(f"u{n}", "tea", 1)])
        except StoreError as error:
            answers[n] = str(error)

    threads = [threading.Thread(target=post, args=(n,)) for n in range(6)]
    threads[0].start()
    while not store._turn.locked() or store._waiting:
        time.sleep(0.01)
    for thread in threads[1:]:
        thread.start()
    while len(store._waiting) < 5:
        time.sleep(0.01)
    turn.set()
    for thread in threads:
        thread.join()
    assert answers == {0: 1, **dict.fromkeys(range(1, 6), "the disk is full")} and told == [5]
    store._write = write
    assert [store.append([Event(f"u{n}", "tea", 1, event_id="e")]) for n in range(6)] == [1] * 6
    assert len(list(store.everything())) == 7
