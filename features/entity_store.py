"""A folder of resolved entities: the map, the records, and the scored pairs that it follows from.

folder/
    current            the name of the version that counts
    v3/
        manifest.json  version, next_id, settings and counts; the hash of each table
        members.parquet, redirects.parquet, log.parquet      the map
        records.parquet                                      what is told of each record
        pairs.parquet                                        pairs with their log-odds

A version is written beside the others and then named as the current one, in one step: whoever reads, and whatever is
killed meanwhile, the map is the old one or the new one.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from features.digest import sha256_of
from features.entity_map import EntityMap
from features.errors import InputError

_CURRENT, _MANIFEST, _FORMAT = "current", "manifest.json", 1
_KEYS = {"source": pl.String, "record_id": pl.String}
PAIRS = {
    "left_source": pl.String,
    "left_id": pl.String,
    "right_source": pl.String,
    "right_id": pl.String,
    "log_odds": pl.Float64,
}
_TABLES = ("members", "redirects", "log", "records", "pairs")


@dataclass(frozen=True, eq=False)
class ResolvedEntities:
    """Entities, and what they follow from.

    Args:
        entities: The map.
        records: Columns source, record_id, and a String column for each attribute. (n rows)
        pairs: Columns left_source, left_id, right_source, right_id and log_odds, less the threshold: above 0 both are
            likely the same. (m rows)
        settings: How they were resolved, as JSON has it.
    """

    entities: EntityMap = field(default_factory=EntityMap)
    records: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_KEYS))
    pairs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PAIRS))
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def attributes(self) -> list[str]:
        """What is told of a record."""
        return [one for one in self.records.columns if one not in _KEYS]


def is_store(folder: Path) -> bool:
    """Whether entities have been written there."""
    return (folder / _CURRENT).is_file()


def check_store(folder: Path) -> None:
    """Refuses a folder that something else lies in.

    Raises:
        InputError: Something else lies there.
    """
    if folder.exists() and not is_store(folder) and (not folder.is_dir() or _strange(folder)):
        raise InputError(f"{folder} exists and holds no entities; it is not written into")


def read_entities(folder: Path | str) -> ResolvedEntities:
    """The current version.

    Raises:
        InputError: There is none, or it is damaged.
    """
    folder = Path(folder)
    where, manifest = _current(folder)
    tables = {}
    for name in _TABLES:
        try:
            tables[name] = pl.read_parquet(where / f"{name}.parquet")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{where / name}.parquet cannot be read: {str(error).splitlines()[0]}") from error
        if sha256_of(tables[name]) != manifest["sha256"].get(name):
            raise InputError(f"{where / name}.parquet is not what {where / _MANIFEST} says that it is")
    entities = EntityMap(
        manifest["version"], tables["members"], tables["redirects"], tables["log"], manifest["next_id"]
    )
    return ResolvedEntities(entities, tables["records"], tables["pairs"], manifest["settings"])


def write_entities(folder: Path | str, resolved: ResolvedEntities, keep: int = 3) -> Path:
    """Makes a new version the current one; the folder is made where there is none.

    Args:
        folder: Of a store, or one that is empty or not there.
        resolved: What is written.
        keep: Versions that stay, the new one counted; older ones go.

    Raises:
        InputError: Something else lies there.
    """
    folder = Path(folder)
    check_store(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"v{resolved.entities.version}"
    part = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".part", dir=folder))
    part.chmod(0o755)
    try:
        _write(part, resolved)
        if (folder / name).exists():  # written before a kill, and never named; or other pairs of the same map
            name = f"{name}-{part.name.split('.')[2]}"
        os.replace(part, folder / name)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    mark = folder / f".{_CURRENT}.part"
    mark.write_text(name, encoding="utf-8")
    os.replace(mark, folder / _CURRENT)
    _without_old(folder, name, keep)
    return folder / name


def _write(part: Path, resolved: ResolvedEntities) -> None:
    entities = resolved.entities
    tables = {
        "members": entities.members,
        "redirects": entities.redirects,
        "log": entities.log,
        "records": resolved.records,
        "pairs": resolved.pairs,
    }
    for name, table in tables.items():
        table.write_parquet(part / f"{name}.parquet")
    manifest = {
        "format": _FORMAT,
        "version": entities.version,
        "next_id": entities.next_id,
        "records": entities.members.height,
        "entities": len(entities),
        "settings": resolved.settings,
        "sha256": {name: sha256_of(table) for name, table in tables.items()},
    }
    (part / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _current(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of the current version, and its manifest."""
    try:
        name = (folder / _CURRENT).read_text(encoding="utf-8").strip()
    except OSError:
        raise InputError(f"{folder} holds no entities: there is no file {_CURRENT!r} in it") from None
    if not name.startswith("v") or Path(name).name != name:
        raise InputError(f"{folder / _CURRENT} names {name!r}, which is no version")
    where = folder / name
    try:
        manifest = json.loads((where / _MANIFEST).read_text(encoding="utf-8"))
        known = {"format": int, "version": int, "next_id": int, "settings": dict, "sha256": dict}
        wrong = next((one for one, kind in known.items() if not isinstance(manifest[one], kind)), None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where / _MANIFEST} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if wrong or manifest["format"] != _FORMAT:
        raise InputError(f"{where / _MANIFEST} is of another format: this version reads format {_FORMAT}")
    return where, manifest


def _strange(folder: Path) -> bool:
    """Whether something lies there that this module has not written."""
    return any(not one.name.startswith((".v", "v", f".{_CURRENT}")) for one in folder.iterdir())


def _without_old(folder: Path, current: str, keep: int) -> None:
    """Removes versions that are too old, and what a killed run has left."""
    named = sorted(
        (one for one in folder.glob("v*") if one.is_dir() and one.name != current),
        key=lambda one: one.stat().st_mtime,
        reverse=True,
    )
    for one in [*named[max(keep - 1, 0) :], *folder.glob(".v*.part")]:
        shutil.rmtree(one, ignore_errors=True)
