"""Where data comes from: one module a format, each making a `Dataset`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features.dataset import Dataset
from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.settings import check_settings

#: What users call a source, and the module that reads it. Modules are imported when asked for.
SOURCES: dict[str, str] = {
    "generated": "features.sources.catalogue",
    "ml-1m": "features.sources.movielens",
    "tables": "features.sources.tables",
    "sequences": "features.sources.sequences",
    "sessions": "features.sources.sessions",
    "lightgcn": "features.sources.lightgcn",
}

#: The same for pairs of records, each making `LabelledPairs`.
PAIR_SOURCES: dict[str, str] = {
    "record-tables": "features.sources.record_tables",
    "deepmatcher": "features.sources.deepmatcher",
    "serialised-pairs": "features.sources.serialised_pairs",
}


def load(name: str, root: Path | str | None = None, **settings: Any) -> Dataset:
    """A data set by name.

    Args:
        name: "generated" (made on the spot), "ml-1m" (MovieLens-1M), "tables" (a folder of CSV or parquet files),
            "sequences" (a text file with a line a user), "sessions" (training sessions, and tests with their target) or
            "lightgcn" (a training and a test file with a line a user).
        root: Its folder or file; sources that need none take None.
        settings: What else the source takes; see the `load` of its module.

    Raises:
        InputError: An unknown source or setting, or data that cannot be used.

    Example:
        >>> load("generated", interactions=1000).interactions.height
        1000
    """
    return _read(SOURCES, name, root, settings)


def load_pairs(name: str, root: Path | str | None = None, **settings: Any) -> LabelledPairs:
    """Labelled pairs of records by the name of their source.

    Args:
        name: "record-tables" (two tables, and one of pairs), "deepmatcher" (a folder as the sets of ER-Magellan are
            published) or "serialised-pairs" (Ditto's files).
        root: Its folder.
        settings: What else the source takes; see the `load` of its module.

    Raises:
        InputError: An unknown source or setting, or data that cannot be used.
    """
    return _read(PAIR_SOURCES, name, root, settings)


def check_name(name: str, sources: Mapping[str, str] = SOURCES) -> None:
    """Refuses what is no source.

    Args:
        name: What is asked for.
        sources: `SOURCES` or `PAIR_SOURCES`.

    Raises:
        InputError: It names the sources that there are.
    """
    if name not in sources:
        raise InputError(f"there is no data source {name!r}; the sources are {', '.join(sources)}")


def _read(sources: Mapping[str, str], name: str, root: Path | str | None, settings: dict[str, Any]) -> Any:
    check_name(name, sources)
    read = importlib.import_module(sources[name]).load
    check_settings(read, settings, f"the source {name!r}")
    return read(Path(root).expanduser() if root else None, **settings)
