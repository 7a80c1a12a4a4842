"""MLflow's registry in its default SQLite file, asked directly: a millisecond, where MLflow takes seconds to import.

Only what is found at once is answered. Whatever else there is (no such name, another schema, artifacts that lie
elsewhere) is MLflow's to say. The three tables are those of the MLflow versions that pyproject.toml admits.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

_BY_ALIAS = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
_NEWEST = "SELECT max(version) FROM model_versions WHERE name = ?"
_SOURCE = "SELECT source FROM model_versions WHERE name = ? AND version = ?"
_LOCATION = "SELECT artifact_location FROM logged_models WHERE model_id = ? AND lifecycle_stage = 'active'"


class Found(NamedTuple):
    """A registered version.

    Args:
        version: Its number.
        model_id: MLflow's id of the logged model.
        location: Where the logged model's files are.
    """

    version: str
    model_id: str
    location: str


def look_up(store: str, name: str, alias: str | None, version: str | None) -> Found | None:
    """Finds a version of a registered model.

    Args:
        store: A tracking URI.
        name: Of the registered model.
        alias: An alias of it,
        version: or a version; the newest one without either.

    Returns:
        None where MLflow has to be asked.
    """
    path = Path(store.removeprefix("sqlite:///"))
    if not store.startswith("sqlite:///") or not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=5)) as database:
            if alias is not None:
                chosen = _only(database, _BY_ALIAS, name, alias)
            else:
                chosen = version if version is not None else _only(database, _NEWEST, name)
            source = _only(database, _SOURCE, name, int(chosen)) if chosen is not None else None
            if source is None or not str(source).startswith("models:/m-"):
                return None
            model_id = str(source).removeprefix("models:/")
            location = _only(database, _LOCATION, model_id)
    except (sqlite3.Error, ValueError, OverflowError):
        return None
    return None if location is None else Found(str(chosen), model_id, str(location))


def _only(database: sqlite3.Connection, query: str, *values: str | int) -> str | int | None:
    """The one value of the one row; None where there are none or several (workspaces may share names)."""
    rows = database.execute(query, values).fetchmany(2)
    return rows[0][0] if len(rows) == 1 else None
