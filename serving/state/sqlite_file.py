"""The SQLite file that events are kept in: its tables, and how it is known for one of ours."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from serving.state.events import StoreError

#: what a file says that is one of ours: "revt"
_OURS = 0x72657674
_FORMAT = 1

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, user_id TEXT NOT NULL, item_id TEXT NOT NULL, "
    "timestamp INTEGER NOT NULL, type TEXT, event_id TEXT)",
    "CREATE INDEX IF NOT EXISTS of_user ON events (user_id, timestamp, number)",
    "CREATE UNIQUE INDEX IF NOT EXISTS once ON events (user_id, event_id) WHERE event_id IS NOT NULL",
)


def prepare(database: sqlite3.Connection, path: Path, wait: float) -> None:
    """Makes the tables where they are missing, and refuses a file that is something else's.

    Args:
        database: Of the file; its own transactions are its caller's affair.
        path: What the file is called.
        wait: For how many seconds another one who opens it is waited for.

    Raises:
        StoreError: It is something else's.
    """
    database.execute("BEGIN")
    ready = _is_ours(database, path)
    database.execute("COMMIT")
    if not ready:
        database.execute("BEGIN IMMEDIATE")
        if not _is_ours(database, path):  # nobody was faster
            for statement in (*_SCHEMA, f"PRAGMA application_id = {_OURS}", f"PRAGMA user_version = {_FORMAT}"):
                database.execute(statement)
        database.execute("COMMIT")
    # Write-ahead logging lets readers read while somebody writes. With synchronous=NORMAL a commit would survive
    # kill -9 of this process, because the operating system holds what was written, but not a power cut; an event
    # is acknowledged after its commit, so each commit waits for the disk (FULL), about a millisecond a post.
    end = time.monotonic() + wait
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:  # of those who open a new file together, one changes it
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.005)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")  # erased is overwritten, not merely unlisted


def _is_ours(database: sqlite3.Connection, path: Path) -> bool:
    """Whether the tables are made; else the file is empty. All that is read here is read of one moment.

    Somebody who makes the tables between two readings would leave a file that has tables and is nobody's.
    """
    ours, made = (database.execute(f"PRAGMA {one}").fetchone()[0] for one in ("application_id", "user_version"))
    if ours == _OURS and made != _FORMAT:
        raise StoreError(f"the events {path} are of format {made}, and this version reads format {_FORMAT}")
    if ours != _OURS and database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise StoreError(f"{path} is a database of something else, and keeps no events")
    return ours == _OURS
