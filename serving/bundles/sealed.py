"""Folders whose manifest lists their files with sizes and hashes: what is missing, damaged or mixed up is refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from features.errors import InputError

MANIFEST = "manifest.json"

#: a folder for the files of a language model that is carried along
TEXT_ENCODER = "text_encoder"


class BundleError(InputError):
    """A bundle whose parts are missing, damaged, or do not belong together."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says.

    Raises:
        BundleError: There is none, or it is no JSON object.
    """
    if not folder.is_dir():
        raise BundleError(f"there is no bundle at {folder}: not a folder")
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise BundleError(f"{MANIFEST} is a JSON {type(data).__name__}, not an object")
    return data


def write_manifest(folder: Path, data: Mapping[str, Any]) -> None:
    """Writes a manifest, replacing the one that is there in one step."""
    part = folder / (MANIFEST + ".part")
    part.write_text(json.dumps(data, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(part, folder / MANIFEST)


def check_format(data: Mapping[str, Any], known: int) -> None:
    """Refuses the manifest of another version.

    Args:
        data: What it says.
        known: The format that this version reads.

    Raises:
        BundleError: It is of another format.
    """
    found = data.get("format")
    if found == known:
        return
    older = type(found) is int and found < known
    raise BundleError(
        f"{MANIFEST} is of format {found!r}, and this version reads format {known}"
        + ("; an earlier version wrote the bundle: train its model again" if older else "")
    )


def check_fields(data: Mapping[str, Any], kinds: Mapping[str, str], needed: Sequence[str]) -> None:
    """Refuses a manifest with other fields than it should have.

    Args:
        data: What it says.
        kinds: The fields there may be, each with its type as written in the source.
        needed: Those that there must be.

    Raises:
        BundleError: Names the field.
    """
    missing = [one for one in needed if one not in data]
    wrong = missing or sorted(set(data) - set(kinds))
    if wrong:
        raise BundleError(f"{MANIFEST} {'lacks' if missing else 'has an unknown'} field {wrong[0]!r}")
    for name, value in data.items():
        kind = kinds[name].partition("[")[0]
        if kind in ("int", "str", "dict", "bool", "list") and type(value).__name__ != kind:
            raise BundleError(f"{MANIFEST}: {name} is {value!r}, not of type {kind}")
    paths = sorted(name for name in data["files"] if not _inside(name))
    if paths:
        raise BundleError(f"{MANIFEST} lists {paths[0]!r}, which is no name of a file in the bundle")


def files_in(folder: Path) -> set[str]:
    """The names of all files of a folder, those of folders inside with a slash."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def carried(names: Collection[str]) -> list[str]:
    """Of some files, those of a language model that is carried along."""
    return sorted(name for name in names if name.startswith(f"{TEXT_ENCODER}/"))


def sealed(folder: Path, names: Sequence[str], known: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Sizes and hashes of files, and the build id that follows from them: the fields `files` and `build_id`.

    Args:
        folder: The bundle's.
        names: The files.
        known: What is known of some of them already.
    """
    known = known or {}
    fresh = [name for name in names if name not in known]
    digests = dict(zip(fresh, _digests(folder, fresh), strict=True))
    files = {
        name: known.get(name) or {"bytes": (folder / name).stat().st_size, "sha256": digests[name]} for name in names
    }
    build = hashlib.sha256(json.dumps({name: one["sha256"] for name, one in files.items()}).encode())
    return {"files": files, "build_id": build.hexdigest()[:16]}


def check_files(
    folder: Path, kind: str, names: Sequence[str], files: Mapping[str, Mapping[str, Any]], hashes: bool = True
) -> None:
    """Compares the files that lie there with those that the manifest lists.

    Args:
        folder: The bundle's.
        kind: Of the bundle.
        names: The files that it must have.
        files: What the manifest lists.
        hashes: Read every file, and not only look at their sizes.

    Raises:
        BundleError: Says which file, and both figures.
    """
    if more := sorted(set(carried(files_in(folder))) - set(files)):
        raise BundleError(f"the bundle holds {more[0]}, which its {MANIFEST} does not list")
    for name in names:
        listed, path = files.get(name), folder / name
        if not isinstance(listed, dict):
            raise BundleError(f"{MANIFEST} does not list {name}, which a bundle of kind {kind!r} must have")
        if not path.is_file():
            raise BundleError(f"the bundle lacks {name}, which its {MANIFEST} lists")
        if path.stat().st_size != listed.get("bytes"):
            raise BundleError(
                f"{name} has {path.stat().st_size} bytes, and {MANIFEST} says {listed.get('bytes')} bytes"
            )
    for name, digest in zip(names, _digests(folder, names), strict=True) if hashes else ():
        if digest != files[name].get("sha256"):
            raise BundleError(f"{name} has the sha256 {digest}, and {MANIFEST} says {files[name].get('sha256')}")


def _inside(name: str) -> bool:
    """Whether a name is that of a file in the bundle, and not of one that lies elsewhere."""
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and "\\" not in name and "/".join(parts) == name and not {".", ".."} & set(parts)
    return plain and (len(parts) == 1 or parts[:1] == (TEXT_ENCODER,))


def _digests(folder: Path, names: Sequence[str]) -> list[str]:
    """The sha256 of each file; hashing lets go of the interpreter's lock, so that threads help."""

    def digest(name: str) -> str:
        with open(folder / name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(digest, names))
