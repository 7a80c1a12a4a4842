"""`--allow`, `--deny` and `--where`: which items an answer may hold."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.candidates import CandidateGenerator


def filter_arguments(parser: argparse.ArgumentParser) -> None:
    """Which items may be answered with."""
    form = "FILE|ID,ID,..."
    parser.add_argument("--allow", metavar=form, help="only these items: a file with an id a line, or the ids")
    parser.add_argument("--deny", metavar=form, help="none of these items, given likewise")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only items that have this value, such as category=tea, or a number of a range, such as price=5..20, "
        "price=5.. or price=..20; of several for one column, any; repeatable",
    )


def filters_of(arguments: argparse.Namespace, generator: CandidateGenerator) -> dict[str, Any]:
    """The arguments as `serving.candidates` takes them; of ids that it lacks, people are told.

    Args:
        arguments: Those of `filter_arguments`.
        generator: Whose items they are about.

    Raises:
        InputError: A file that cannot be read, or a value that is written as none of its column.
    """
    shelf = generator.new_items.shelf
    where: dict[str, Any] = {}
    for one in arguments.where:
        column, sign, text = one.partition("=")
        if not sign or not column:
            raise InputError(f"--where takes COLUMN=VALUE, got {one!r}")
        kind = generator.columns.get(column)
        wanted = _range(column, text) if kind == "numbers" else [_value(column, text, kind)]
        if not shelf.marks({column: wanted}).any():
            _tell(f"no item has {one}")
        if not isinstance(wanted, dict):
            where.setdefault(column, []).extend(wanted)
        elif column in where:
            raise InputError(f"--where names a range of {column} twice")
        else:
            where[column] = wanted
    lists = {name: _ids(f"--{name}", getattr(arguments, name)) for name in ("allow", "deny")}
    for name, ids in lists.items():
        if ids is None:
            continue
        if ids == [getattr(arguments, name)] and shelf.rows(ids, name)[0] < 0:
            _tell(f"--{name}: {ids[0]} is neither a file nor an item")
        else:
            _tell_of_lacking(name, ids, generator)
    return {**lists, "where": where or None}


def histories_of(arguments: argparse.Namespace, generator: CandidateGenerator) -> list[list[str]]:
    """Those that `--history` gives; of ids in them that are no items, people are told.

    Args:
        arguments: With `history`, each "ID,ID,...".
        generator: Whose items they are about.
    """
    histories = [[one.strip() for one in history.split(",") if one.strip()] for history in arguments.history]
    ids = [one for history in histories for one in history]
    _tell_of_lacking("history", ids, generator)
    return histories


def _tell_of_lacking(name: str, ids: list[str], generator: CandidateGenerator) -> None:
    """Counts ids that are no items, which requests pass over."""
    rows = generator.new_items.shelf.rows(ids, name).tolist()
    if lacking := [one for one, row in zip(ids, rows, strict=True) if row < 0]:
        _tell(f"--{name}: {len(lacking):,} of {len(ids):,} are no items here, such as {lacking[0]!r}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _ids(name: str, given: str | None) -> list[str] | None:
    """Of a file, a line an id; else what stands between commas."""
    if given is None:
        return None
    ids, path = given.split(","), Path(given)
    try:
        if path.is_file():
            ids = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: {path} cannot be read as lines of text: {error}") from error
    return [one.strip() for one in ids if one.strip()]


def _value(column: str, text: str, kind: str | None) -> str | int | bool:
    """As the column holds it; of an unknown column, as it is written."""
    try:
        if kind == "integers":
            return int(text)
        if kind == "booleans":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        raise InputError(f"--where {column}={text}: {column} holds {kind}") from None
    return text


def _range(column: str, text: str) -> dict[str, float]:
    """From and to; one number is both."""
    low, dots, high = text.partition("..")
    ends = {"min": low, "max": high if dots else low}
    try:
        found = {name: float(one) for name, one in ends.items() if one.strip()}
    except ValueError:
        found = {}
    if not found:
        raise InputError(f"--where {column}={text}: {column} holds numbers, so write 5..20, 5.., ..20 or 5")
    return found
