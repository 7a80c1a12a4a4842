"""Where events are kept: Redis, where RECSYS_HISTORY_URL names one, else a file beside the bundle."""

from __future__ import annotations

import os
from pathlib import Path

from features.errors import InputError
from serving.resolve import Resolved
from serving.state.events import KEPT, EventStore, StoreError
from serving.state.sqlite_events import SQLiteEvents

VARIABLE = "RECSYS_HISTORY_URL"
_SERVERS = ("redis", "rediss", "unix")


def open_events(where: Path | str | None = None, *, keep: int = KEPT, create: bool = True) -> EventStore:
    """Opens a store of events.

    Args:
        where: A file, or the address of a Redis: redis://, rediss:// or unix://; what RECSYS_HISTORY_URL says, where
            not given.
        keep: How many events of a user are kept, the latest ones.
        create: Make a file that is not there.

    Raises:
        InputError: No store is named, or an address of another kind.
        StoreError: A file that cannot be used. A Redis that does not answer yet is no error.
    """
    named = str(where) if where is not None else os.environ.get(VARIABLE, "")
    if not named:
        raise InputError(f"no store of events is named: give a file or an address, or set {VARIABLE}")
    scheme, found, _ = named.partition("://")
    if found and scheme in _SERVERS:
        from serving.state.redis_events import RedisEvents

        return RedisEvents(named, keep)
    if found and scheme != "sqlite":
        raise InputError(
            f"events are kept in a file, or at {', '.join(f'{one}://' for one in _SERVERS)}; not {scheme}:"
        )
    path = Path(named.removeprefix("sqlite:///")).expanduser()
    if not create and not path.is_file():
        raise StoreError(f"there are no events at {path}: not a file")
    return SQLiteEvents(path, keep)


def place_of(resolved: Resolved) -> str:
    """Where a model's events are kept, unless somebody says otherwise: RECSYS_HISTORY_URL, else a file.

    The file lies beside a bundle's folder, because the folder is replaced by the next build, and for a registered model
    beside `mlflow.db`, by its name, because its next version lies elsewhere.

    Example:
        >>> os.environ.pop(VARIABLE, None) and None
        >>> place_of(Resolved(Path("runs/shop/bundle"), "shop")), place_of(Resolved(Path("mlruns/m-1"), "shop", "3"))
        ('runs/shop/bundle.events.sqlite', 'shop.events.sqlite')
    """
    if named := os.environ.get(VARIABLE):
        return named
    if resolved.version is not None:
        return f"{resolved.name}.events.sqlite"
    folder = resolved.folder
    return str(folder.with_name(f"{folder.name or 'bundle'}.events.sqlite"))
