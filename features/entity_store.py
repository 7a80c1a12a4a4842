"""A folder of resolved entities: the map, the records, and the scored pairs that it follows from.

folder/
    current            the name of the version that counts
    v3/
        manifest.json  version, next_id, settings and counts; the hash of each table
        members.parquet, redirects.parquet, log.parquet      the map
        departed.parquet                                     records that are gone, and what they were
        records.parquet                                      what is told of each record
        pairs.parquet                                        pairs with their log-odds

A version is written beside the others and then named as the current one, in one step: whoever reads, and whatever is
killed meanwhile, the map is the old one or the new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl

from features.digest import sha256_of
from features.entity_map import MEMBERS, EntityMap
from features.errors import InputError
from features.resolved_entities import ResolvedEntities

_CURRENT, _MANIFEST, _LOCK, _FORMAT = "current", "manifest.json", ".lock", 1
_VERSION, _PART = re.compile(r"v\d+(-\w+)?"), re.compile(r"\.v\d+\.\w+\.part")
_TABLES = ("members", "redirects", "log", "records", "pairs", "departed")


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


@contextmanager
def writing(folder: Path | str) -> Iterator[None]:
    """Keeps others from writing entities from here on: from what is read to what is written, nobody comes between.

    Args:
        folder: Made where it is not there, and gone again where nothing has been written.

    Raises:
        InputError: Somebody else is writing, or something else lies there.
    """
    folder = Path(folder)
    check_store(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"somebody else is resolving into {folder}; wait for that to end") from None
            yield
    finally:
        if {one.name for one in folder.iterdir()} == {_LOCK}:
            (folder / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()


def current_version(folder: Path | str) -> str:
    """What the version that counts is called, such as "v3"; one of another name is another one.

    Raises:
        InputError: There is none.
    """
    try:
        name = (Path(folder) / _CURRENT).read_text(encoding="utf-8").strip()
    except OSError:
        raise InputError(f"{folder} holds no entities: there is no file {_CURRENT!r} in it") from None
    if not _VERSION.fullmatch(name):
        raise InputError(f"{Path(folder) / _CURRENT} names {name!r}, which is no version")
    return name


def read_entities(folder: Path | str, version: int = 0) -> ResolvedEntities:
    """The current version, or an earlier one.

    Args:
        folder: Of the store.
        version: Which; the current one, where 0.

    Raises:
        InputError: There is none, or it is damaged.
    """
    folder = Path(folder)
    where, manifest = _current(folder, version)
    tables = {}
    for name in _TABLES:
        if name == "departed" and name not in manifest["sha256"]:  # written before this was kept
            tables[name] = pl.DataFrame(schema=MEMBERS)
            continue
        try:
            tables[name] = pl.read_parquet(where / f"{name}.parquet")
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{where / name}.parquet cannot be read: {str(error).splitlines()[0]}") from error
        if sha256_of(tables[name]) != manifest["sha256"].get(name):
            raise InputError(f"{where / name}.parquet is not what {where / _MANIFEST} says that it is")
    entities = EntityMap(
        manifest["version"],
        tables["members"],
        tables["redirects"],
        tables["log"],
        manifest["next_id"],
        tables["departed"],
    )
    return ResolvedEntities(entities, tables["records"], tables["pairs"], manifest["settings"])


def write_entities(folder: Path | str, resolved: ResolvedEntities, keep: int = 3) -> Path:
    """Makes a new version the current one; inside `writing`, where others may write, too.

    Args:
        folder: Of a store, or one that is empty or not there.
        resolved: What is written.
        keep: Versions that stay, the new one counted; older ones go.

    Raises:
        InputError: Something else lies there, or a version that is newer than what this one follows from.
    """
    folder = Path(folder)
    check_store(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if is_store(folder) and _current(folder)[1]["version"] > resolved.entities.version:
        raise InputError(f"{folder} has a newer version than the one that was changed; read it again")
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
        "departed": entities.departed,
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


def _current(folder: Path, version: int = 0) -> tuple[Path, dict[str, Any]]:
    """The folder of the current version, or of an earlier one, and its manifest."""
    name = current_version(folder)
    if version and _number(name) != version:
        there = sorted((one.name for one in folder.glob("v*") if _is_version(one)), key=_number)
        name = next((one for one in reversed(there) if _number(one) == version), "")
        if not name:
            raise InputError(f"{folder} has no version {version} any more; it has {', '.join(there)}")
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


def _number(name: str) -> int:
    """Of a version's folder: 3 of "v3" and of "v3-a1b2"."""
    return int(name[1:].partition("-")[0])


def _is_version(path: Path) -> bool:
    """Whether this module has written it."""
    return path.is_dir() and bool(_VERSION.fullmatch(path.name)) and (path / _MANIFEST).is_file()


def _strange(folder: Path) -> bool:
    """Whether something lies there that this module has not written."""
    ours = (_LOCK, f".{_CURRENT}.part")
    return any(
        one.name not in ours and not _PART.fullmatch(one.name) and not _is_version(one) for one in folder.iterdir()
    )


def _without_old(folder: Path, current: str, keep: int) -> None:
    """Removes versions that are too old, and what a killed run has left."""
    named = sorted(
        (one for one in folder.glob("v*") if _is_version(one) and one.name != current),
        key=lambda one: one.stat().st_mtime,
        reverse=True,
    )
    left = [one for one in folder.glob(".v*.part") if _PART.fullmatch(one.name)]
    for one in [*named[max(keep - 1, 0) :], *left]:
        shutil.rmtree(one, ignore_errors=True)
