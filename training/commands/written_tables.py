"""Tables that verbs write: refused before anything is read, and written whole or not at all."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError

if TYPE_CHECKING:
    import polars as pl

#: how tables are written, by the ends of their names
_WRITERS = {".csv": "write_csv", ".parquet": "write_parquet"}
TABLES = tuple(_WRITERS)


def check_out(arguments: argparse.Namespace, option: str = "out", ends: Sequence[str] = TABLES) -> None:
    """Refuses what cannot be written, before anything is read.

    Args:
        arguments: Of the verb.
        option: That says where to.
        ends: What its name may end in.

    Raises:
        InputError: A name that ends otherwise, a folder that is not there or takes no file, or a table that is read.
    """
    path: Path = getattr(arguments, option)
    if path.suffix not in ends:
        raise InputError(f"--{option} ends in {' or '.join(ends)}, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into")
    for other, file in _read(arguments):
        if file.expanduser().resolve() == path.resolve():
            raise InputError(f"--{option} is {path}, which is {other} as well: name another file")
    try:
        aside = _aside(path)
        aside.touch()
        aside.unlink()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None


def written_in_one_step(table: pl.DataFrame, path: Path) -> None:
    """Writes a table, or leaves what was there.

    Raises:
        InputError: It cannot be written.
    """
    part = _aside(path)
    try:
        getattr(table, _WRITERS[path.suffix])(part)
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _read(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """What a verb reads, by what says so."""
    for name in ("left", "right", "pairs"):
        said = getattr(arguments, name, None) or []
        yield from ((f"--{name}", Path(one)) for one in ([said] if isinstance(said, str) else said))
    for said in getattr(arguments, "sources", []):
        name, _, file = said.partition("=")
        yield f"the source {name}", Path(file)
