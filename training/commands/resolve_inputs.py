"""What `recsys resolve` is told: tables of records, rules, and who judges."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.record_options import mapping

if TYPE_CHECKING:
    from features.record_pairs import RecordPairs
    from features.records import Records
    from features.resolved_entities import ResolvedEntities
    from serving.entities.judges import Judge
    from serving.matching.matcher import Matcher
    from training.entities.config import ResolveConfig


def configuration(arguments: argparse.Namespace, before: ResolvedEntities) -> ResolveConfig:
    """As it was before, but for what is named now."""
    import yaml

    from training.config import load_config
    from training.entities.config import ResolveConfig

    settings = [*arguments.settings]
    settings += [f"{name}=true" for name in ("one_to_one", "duplicates") if getattr(arguments, name)]
    earlier = before.settings.get("config")
    if arguments.config or not earlier:
        return load_config(arguments.config, settings, kind=ResolveConfig)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(earlier, file)
        file.flush()
        return load_config(file.name, settings, kind=ResolveConfig)


def read_sources(arguments: argparse.Namespace, attributes: list[str]) -> dict[str, Records]:
    """The tables by their names."""
    from features.sources.record_tables import read_records

    files = _named(arguments.sources, "=", "NAME=FILE")
    ids = _named(arguments.id, "=", "--id NAME=COLUMN")
    columns = _named(arguments.columns, ":", "--columns NAME:ATTRIBUTE=COLUMN,...")
    for option, given in (("--id", ids), ("--columns", columns)):
        if other := next((one for one in given if one not in files), None):
            raise InputError(f"{option} is of {other!r}, and the sources are {', '.join(files)}")
    found: dict[str, Records] = {}
    for name, file in files.items():
        told: dict[str, str] | None = None
        if name in columns:
            try:
                told = mapping(columns[name])
            except argparse.ArgumentTypeError as error:
                raise InputError(f"--columns of {name}: {error}") from None
        known = attributes or (next(iter(found.values())).attributes if found else [])
        if known:
            if other := next((one for one in told or () if one not in known), None):
                raise InputError(
                    f"--columns of {name} has {other!r}, and what is told of records is {', '.join(known)}"
                )
            told = {one: (told or {}).get(one, one) for one in known}
        found[name] = read_records(Path(file), told, ids.get(name, "id"))
    return found


def _named(given: list[str], sign: str, form: str) -> dict[str, str]:
    """Arguments of the form NAME=..., by their names."""
    found: dict[str, str] = {}
    for one in given:
        name, there, rest = one.partition(sign)
        if not there or not name or not rest:
            raise InputError(f"{one!r} is not {form}")
        if name in found:
            raise InputError(f"{name!r} is named twice: {form}")
        found[name] = rest
    return found


def judge_of(arguments: argparse.Namespace, config: ResolveConfig) -> tuple[Judge | None, Matcher | None]:
    """What was asked to judge, None where the data are to say it; and the cheap matcher, where there is one."""
    if arguments.model is None:
        if arguments.first is not None or config.precision:
            what = "--first" if arguments.first is not None else "precision"
            raise InputError(f"{what} goes with a matcher, and --model names none")
        return None, None
    from serving.entities.judges import CascadeJudge, MatcherJudge
    from serving.matching.matcher import Matcher

    matcher = Matcher.load(arguments.model, arguments.tracking_uri)
    precision = config.precision or None
    if arguments.first is None:
        return MatcherJudge(matcher, precision), None
    budget = {"pairs": config.cascade.pairs or None, "minutes": config.cascade.minutes or None}
    if not any(budget.values()):
        raise InputError("--first needs a budget for --model: --set cascade.pairs=N or cascade.minutes=M")
    first = Matcher.load(arguments.first, arguments.tracking_uri)
    return CascadeJudge(first, matcher, **budget, precision=precision), first


def encoder_of(config: ResolveConfig, first: Matcher | None) -> Any:
    """What makes vectors of records, where they are looked by: the cheap matcher, or else a language model."""
    if "vectors" not in config.blocking.ways:
        return None
    from serving.entities.vectors import MatcherEncoder, RecordEncoder

    return RecordEncoder(config.encoder) if first is None else MatcherEncoder(first)


def read_labelled(arguments: argparse.Namespace, sources: dict[str, Records]) -> RecordPairs | None:
    """Labelled pairs of the first two sources."""
    if arguments.pairs is None:
        return None
    from features.sources.record_tables import read_pairs

    tables = list(sources.values())
    return read_pairs([Path(arguments.pairs)], tables[0], tables[min(1, len(tables) - 1)], labelled=True)
