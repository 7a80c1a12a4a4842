"""Events in one SQLite file: no server, and every worker of a machine may write to it."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.state.events import KEPT, READ, Event, Health, StoreError, Trail
from serving.state.sqlite_file import prepare

_ADD = (
    "INSERT INTO events (user_id, item_id, timestamp, type, event_id) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (user_id, event_id) WHERE event_id IS NOT NULL DO NOTHING"
)
_TRIM = (
    "DELETE FROM events WHERE number IN "
    "(SELECT number FROM events WHERE user_id = ? ORDER BY timestamp DESC, number DESC LIMIT -1 OFFSET ?)"
)
_COLUMNS = "user_id, item_id, timestamp, type, event_id"
_SINCE = f"SELECT {_COLUMNS} FROM events WHERE user_id = ? AND timestamp >= ? ORDER BY timestamp, number"
_LATEST = "SELECT item_id, timestamp, type FROM events WHERE user_id = ? ORDER BY timestamp DESC, number DESC LIMIT ?"
_PAGE = (
    f"SELECT {_COLUMNS}, number FROM events WHERE (user_id, timestamp, number) > (?, ?, ?) "
    "ORDER BY user_id, timestamp, number LIMIT 10000"
)
_FIRST = -(2**63)


@dataclass(eq=False)
class _Post:
    """Events of one caller: what became of them."""

    rows: list[tuple[str, str, int, str | None, str | None]]
    new: int = 0
    done: bool = False
    error: str | None = None


class SQLiteEvents:
    """An `EventStore` in a file.

    Args:
        path: Made where it is not there. Not on a network drive, where SQLite's write-ahead log does not work.
        keep: How many events of a user are kept, the latest ones.
        wait: For how many seconds a writer waits for another one.

    Raises:
        StoreError: It cannot be opened, or something else lies there.

    Example:
        >>> import tempfile
        >>> store = SQLiteEvents(Path(tempfile.mkdtemp()) / "events.sqlite")
        >>> store.append([Event("ann", "tea", 3), Event("ann", "ink", 2)])
        2
        >>> [one.item_id for one in store.since(["ann"])[0]]
        ['ink', 'tea']
    """

    def __init__(self, path: Path | str, keep: int = KEPT, wait: float = 5.0) -> None:
        self.path = Path(path)
        self._keep, self._wait, self._trimmed = keep, wait, 0
        self.after_trim: Callable[[int], None] = lambda many: None
        self._mine, self._lock = threading.local(), threading.Lock()
        self._all: list[sqlite3.Connection] = []
        self._waiting: deque[_Post] = deque()
        self._turn = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the events {path} cannot be kept: {error.strerror or error}") from None
        with self._database():
            pass

    def append(self, events: Sequence[Event]) -> int:
        """Keeps events; see `EventStore.append`."""
        mine = _Post([(one.user_id, one.item_id, one.timestamp, one.type, one.event_id) for one in events])
        if not mine.rows:
            return 0
        self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                # whose turn it is writes for all who wait: posts that come together share one wait for the disk
                posts = [self._waiting.popleft() for _ in range(len(self._waiting))]
                try:
                    self._write(posts)
                except BaseException as error:  # whatever it is: nothing that is not kept is acknowledged
                    for one in posts:
                        one.error = str(error) or type(error).__name__
                    if not isinstance(error, StoreError):
                        raise
                finally:
                    for one in posts:
                        one.done = True
        if mine.error is not None:
            raise StoreError(mine.error)
        return mine.new

    def _write(self, posts: list[_Post]) -> None:
        with self._writing() as database:
            for one in posts:
                one.new = database.executemany(_ADD, one.rows).rowcount
            users = dict.fromkeys(row[0] for one in posts for row in one.rows)
            trimmed = database.executemany(_TRIM, [(user, self._keep) for user in users]).rowcount
        if trimmed > 0:  # committed; and it is one thread's turn at a time
            self._trimmed += trimmed
            self.after_trim(trimmed)

    def since(self, user_ids: Sequence[str | int], time: int | None = None) -> list[list[Event]]:
        """The events of each user; see `EventStore.since`."""
        first = _FIRST if time is None else time
        with self._database() as database:
            return [[Event.kept(*row) for row in database.execute(_SINCE, (str(one), first))] for one in user_ids]

    def trails(self, user_ids: Sequence[str | int], types: Collection[str | None] | None = None) -> list[Trail]:
        """What each user did last; see `EventStore.trails`."""
        found = []
        one_of: dict[str, str] = {}  # a thousand users hold one text of an item, and not a thousand
        with self._database() as database:
            for one in user_ids:
                rows = database.execute(_LATEST, (str(one), READ)).fetchall()[::-1]
                if types is not None:
                    rows = [row for row in rows if row[2] in types]
                items = [one_of.setdefault(row[0], row[0]) for row in rows]
                found.append(Trail(items, np.fromiter((row[1] for row in rows), np.int64, len(rows))))
        return found

    def everything(self) -> Iterator[Event]:
        """All events; see `EventStore.everything`."""
        last: tuple[str, int, int] = ("", _FIRST, _FIRST)
        while True:  # page by page: a reader that stays in the middle would keep the log from being cut
            with self._database() as database:
                page = database.execute(_PAGE, last).fetchall()
            if not page:
                return
            yield from (Event.kept(*row[:-1]) for row in page)
            last = (page[-1][0], page[-1][2], page[-1][-1])

    def erase(self, user_ids: Sequence[str | int]) -> int:
        """Forgets users; what they did is overwritten in the file, and no longer in the log beside it."""
        with self._writing() as database:
            asked = [(one,) for one in dict.fromkeys(map(str, user_ids))]
            erased = database.executemany("DELETE FROM events WHERE user_id = ?", asked).rowcount
        end = time.monotonic() + self._wait
        with self._database() as database:
            while busy := database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > end:
                    break
                time.sleep(0.01)  # one that meets another one does not wait for it
        if busy:
            raise StoreError(
                f"the events {self.path}: the users are erased, but the log beside the file still holds them, "
                "because somebody reads it; erase them again"
            )
        return erased

    def health(self) -> Health:
        """Asks it something; see `EventStore.health`."""
        try:
            with self._database() as database:
                database.execute("SELECT 1 FROM events LIMIT 1").fetchone()
        except StoreError as error:
            return Health(str(self.path), problem=str(error), trimmed=self._trimmed)
        return Health(str(self.path), trimmed=self._trimmed)

    def close(self) -> None:
        """Ends its connections."""
        with self._lock:
            databases, self._all, self._mine = self._all, [], threading.local()
        for database in databases:
            database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable at its end."""
        with self._database() as database:
            self._begin(database)
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # some errors have ended it themselves
                    database.execute("ROLLBACK")
                raise

    def _begin(self, database: sqlite3.Connection) -> None:
        """Waits for its turn now; a transaction that began by reading could not.

        SQLite itself looks ever more seldom, up to every 100 ms, and would hardly ever find a file free that another
        process writes to without a pause.
        """
        end = time.monotonic() + self._wait
        database.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    database.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                        raise
                time.sleep(random.uniform(0.0002, 0.002))
        finally:
            database.execute(f"PRAGMA busy_timeout = {int(1000 * self._wait)}")

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection; whatever SQLite finds wrong is told as a `StoreError`."""
        try:
            if not hasattr(self._mine, "database"):
                self._mine.database = self._connected()
            yield self._mine.database
        except (sqlite3.Error, OverflowError) as error:
            raise StoreError(f"the events {self.path} cannot be used: {error}") from None

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=self._wait, isolation_level=None, check_same_thread=False)
        try:
            prepare(database, self.path, self._wait)
        except BaseException:
            database.close()
            raise
        with self._lock:
            self._all.append(database)
        return database
