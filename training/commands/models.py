"""`recsys models`"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from training.commands.options import json_argument, tracking_argument

if TYPE_CHECKING:
    from training.promotion.overview import Model, Registered


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them: list its versions (default: all models)")
    tracking_argument(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints what is registered; nothing is fetched or loaded for it."""
    from training.promotion.overview import models, versions_of

    if arguments.name is None:
        found = models(arguments.tracking_uri)
        print(json.dumps({"models": [one.to_json() for one in found]}) if arguments.json else _models(found))
        return 0
    versions = versions_of(arguments.name, arguments.tracking_uri)
    if arguments.json:
        print(json.dumps({"model": arguments.name, "versions": [one.to_json() for one in versions]}))
    else:
        print(_versions(arguments.name, versions))
    return 0


def _models(found: Sequence[Model]) -> str:
    """A line each."""
    if not found:
        return "no model is registered yet: `recsys train MODEL --register NAME` registers one"
    rows = [("name", "kind", "versions", "aliases")]
    for one in found:
        aliases = ", ".join(f"{alias} {version}" for alias, version in one.aliases.items())
        rows.append((one.name, one.kind or "-", str(one.versions), aliases or "-"))
    return "\n".join(_aligned(rows))


def _versions(name: str, versions: Sequence[Registered]) -> str:
    """A line each, and under it who made it champion, or took it back."""
    if not versions:
        return f"{name} has no version yet: `recsys train MODEL --register {name}` makes one"
    figures = list(dict.fromkeys(figure for one in versions for figure in one.figures))
    rows = [("version", "aliases", "created (UTC)", "kind", "split", *figures)]
    for one in versions:
        measured = (f"{one.figures[name]:.4f}" if name in one.figures else "-" for name in figures)
        aliases = ", ".join(one.aliases) or "-"
        rows.append((one.version, aliases, _time(one.created), one.kind or "-", one.split or "-", *measured))
    first, *lines = _aligned(rows)
    told = [first]
    for one, line in zip(versions, lines, strict=True):
        told += [line, *(f"    {sentence}" for sentence in _happened(one))]
    return "\n".join(told)


def _happened(one: Registered) -> list[str]:
    """Who moved it, when and why."""
    found = []
    if by := one.promotion.get("promoted_by"):
        gates = one.promotion.get("promoted_gates")
        how = " without gates" if gates == "none" else ""
        if isinstance(gates, dict):
            n = len(gates.get("passed", ()))
            how = f", having passed {n} gate{'' if n == 1 else 's'}"
        found.append(f"made champion by {by}, {_time(one.promotion['promoted_at'])}{how}{_why(one.promotion)}")
    if by := one.rolled_back.get("rolled_back_by"):
        found.append(f"rolled back by {by}, {_time(one.rolled_back['rolled_back_at'])}{_why(one.rolled_back)}")
    return found


def _why(told: Mapping[str, str]) -> str:
    why = next((value for key, value in told.items() if key.endswith("_why")), "")
    return f": {why}" if why else ""


def _time(moment: str) -> str:
    """A moment of ISO 8601 to the minute.

    Example:
        >>> _time("2024-05-01T12:34:56+00:00")
        '2024-05-01 12:34'
    """
    return moment[:16].replace("T", " ")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with columns of one width each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
