"""Archives from their publishers: fetched once, checked, kept in a cache folder."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from features.errors import InputError

_BLOCK = 1 << 18


def cache_folder() -> Path:
    """`$RECSYS_CACHE`, or `recsys-unified` in the user's cache folder."""
    given = os.environ.get("RECSYS_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recsys-unified"


def fetch(url: str, md5: str) -> Path:
    """The file at `url`, from the cache if it is there and whole.

    Args:
        url: The publisher's address.
        md5: The checksum that the publisher states.

    Raises:
        InputError: It cannot be fetched, or what came is not what was published.
    """
    path = cache_folder() / url.rsplit("/", 1)[-1]
    if path.is_file() and _md5(path) == md5:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a name of its own: two processes may fetch at the same time, and a killed one leaves nothing that looks whole
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            _download(url, partial)
            found = _md5(partial)
            if found != md5:
                raise InputError(
                    f"{url} came with md5 {found}, not {md5} as published; fetch it yourself and give its path"
                )
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:  # URLError is one
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{url} cannot be fetched ({reason}); give the path of a copy as root") from error
    return path


def _download(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=30) as answer, path.open("wb") as file:
        size, done = int(answer.headers.get("Content-Length") or 0), 0
        while block := answer.read(_BLOCK):
            file.write(block)
            done += len(block)
            if sys.stderr.isatty():
                share = f"{done / size:4.0%}" if size else ""
                print(f"\r{url}  {done / 1e6:.1f} MB {share}", end="", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print(file=sys.stderr)
        if size and done < size:
            raise OSError(f"only {done} of {size} bytes came")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
