"""`--allow`, `--deny` and `--where`: which items an answer may hold."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    where: dict[str, Any] = {}
    for one in arguments.where:
        column, sign, text = one.partition("=")
        if not sign or not column:
            raise InputError(f"--where takes COLUMN=VALUE, got {one!r}")
        kind = generator.columns.get(column)
        if kind != "numbers":
            where.setdefault(column, []).append(_value(column, text, kind))
        elif column in where:
            raise InputError(f"--where names a range of {column} twice")
        else:
            where[column] = _range(column, text)
    lists = {name: _ids(f"--{name}", getattr(arguments, name)) for name in ("allow", "deny")}
    for name, ids in lists.items():
        if ids is None:
            continue
        lacking = np.flatnonzero(generator.new_items.shelf.rows(ids, name) < 0).tolist()
        if lacking:  # among which the name of a file that is not there would be
            example = f"{len(lacking):,} of {len(ids):,} are no items here, such as {ids[lacking[0]]!r}"
            print(f"--{name}: {example}", file=sys.stderr)
    return {**lists, "where": where or None}


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
