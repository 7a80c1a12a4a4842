"""What a command line names is there: found out before a verb imports torch, which takes seconds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from features.errors import InputError


def check_named(arguments: argparse.Namespace) -> None:
    """Refuses files and folders to be read that are not there, and data of no known source.

    Whether they can be used, the verb finds out.

    Args:
        arguments: Of any verb.

    Raises:
        InputError: Names the option, and what it names.
    """
    for option, path in _to_read(arguments):
        if not path.exists():
            raise InputError(f"{option}: there is no {path}")
    source = getattr(arguments, "data", None)
    if source is not None:
        from features.sources import PAIR_SOURCES, SOURCES, check_name

        check_name(source, PAIR_SOURCES if arguments.verb == "match" else SOURCES)


def _to_read(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """What is named, and by which option."""
    given = {name: one for name, one in vars(arguments).items() if one is not None}
    if "config" in given:
        yield "--config", Path(given["config"])
    if given.get("print_config"):  # settings alone: nothing is read
        return
    if "root" in given:
        yield "--root", Path(given["root"]).expanduser()
    named = (one.partition("=") for one in given.get("sources", ()))
    yield from ((f"the table {name}", Path(file)) for name, _, file in named if file)
    configured = "config" in given or any(one.startswith("data") for one in given.get("settings", ()))
    if hasattr(arguments, "root") and configured:
        return  # which may say of what folder these are
    folder = Path(given.get("root", "")).expanduser()
    for name in ("left", "right", "pairs"):
        paths = given.get(name, [])
        yield from ((f"--{name}", folder / one) for one in ([paths] if isinstance(paths, str) else paths))
