"""What `recsys resolve` is told: tables of records, rules, and who judges."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.record_options import mapping
from training.commands.table_columns import AskedTable, check_pairs, check_tables

if TYPE_CHECKING:
    from features.record_pairs import RecordPairs
    from features.records import Records
    from features.resolved_entities import ResolvedEntities
    from serving.entities.cascade import CascadeJudge
    from serving.entities.judges import MatcherJudge
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
    if arguments.model is None:  # what is inherited is nobody's wish; what is said now is refused below
        earlier = {name: one for name, one in earlier.items() if name != "cascade"}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(earlier, file)
        file.flush()
        return load_config(file.name, settings, kind=ResolveConfig)


def read_sources(
    arguments: argparse.Namespace, attributes: list[str], say: Callable[[str], None]
) -> dict[str, Records]:
    """The tables by their names; what one has no column for, and nobody has said a column of, is told of no record."""
    from features.sources.record_tables import read_records

    files = _named(arguments.sources, "=", "NAME=FILE")
    ids = _named(arguments.id, "=", "--id NAME=COLUMN")
    columns = _named(arguments.columns, ":", "--columns NAME:ATTRIBUTE=COLUMN,...")
    for option, given in (("--id", ids), ("--columns", columns)):
        if other := next((one for one in given if one not in files), None):
            raise InputError(f"{option} is of {other!r}, and the sources are {', '.join(files)}")
    asked: dict[str, AskedTable] = {}
    for name, file in files.items():
        told: dict[str, str] | None = None
        if name in columns:
            try:
                told = mapping(columns[name])
            except argparse.ArgumentTypeError as error:
                raise InputError(f"--columns of {name}: {error}") from None
        known = attributes or (next(iter(asked.values())).attributes if asked else [])
        untold = [one for one in known if one not in (told or {})]
        if known:
            told = {**{one: one for one in known}, **(told or {})}
        options = (f"--id {name}=COLUMN", f"--columns {name}:")
        asked[name] = AskedTable(Path(file), ids.get(name, "id"), *options, told, untold)
    check_tables(list(asked.values()))
    found: dict[str, Records] = {}
    for name, one in asked.items():
        told = None if one.columns is None else dict(one.columns)
        known = attributes or (next(iter(found.values())).attributes if found else [])
        if known and (other := next((attribute for attribute in told or () if attribute not in known), None)):
            raise InputError(f"--columns of {name} has {other!r}, and what is told of records is {', '.join(known)}")
        found[name] = read_records(one.path, told, one.id_column, untold=one.untold)
        if lacking := found[name].untold:
            say(
                f"note: {name} has no column {' or '.join(map(repr, lacking))}, so nothing is told of that; "
                f"--columns {name}:{lacking[0]}=COLUMN names another one"
            )
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


def judge_of(
    arguments: argparse.Namespace, config: ResolveConfig, before: ResolvedEntities
) -> tuple[MatcherJudge | CascadeJudge | None, Matcher | None]:
    """What was asked to judge, None where the data are to say it; and the cheap matcher, where there is one."""
    budget: dict[str, Any] = {name: getattr(config.cascade, name) or None for name in ("pairs", "minutes")}
    if arguments.model is None:
        given = next((f"cascade.{name}" for name, one in budget.items() if one), None)
        what = "--first" if arguments.first is not None else "precision" if config.precision else given
        if what is not None:
            raise InputError(f"{what} goes with a matcher, and --model names none")
        return None, None
    from recsys.matching.surrogate import Surrogate
    from serving.entities.cascade import CascadeJudge
    from serving.entities.judges import MatcherJudge
    from serving.matching.matcher import Matcher

    matcher = Matcher.load(arguments.model, arguments.tracking_uri)
    precision = config.precision or None
    if not any(budget.values()):
        if arguments.first is not None:
            raise InputError("--first needs a budget for --model: --set cascade.pairs=N or cascade.minutes=M")
        return MatcherJudge(matcher, precision), None
    first = None if arguments.first is None else Matcher.load(arguments.first, arguments.tracking_uri)
    learned = None if arguments.anew else before.settings.get("judge", {}).get("learned")
    known = Surrogate.from_json(learned) if learned and before.settings["judge"].get("kind") == "cascade" else None
    return CascadeJudge(first, matcher, **budget, precision=precision, learned=known), first


def encoder_of(config: ResolveConfig, first: Matcher | None) -> Any:
    """What makes vectors of records, where they are looked by: the cheap matcher, or else a language model."""
    if "vectors" not in config.blocking.ways:
        return None
    from recsys.text_encoders import TextEncoderConfig
    from serving.entities.vectors import MatcherEncoder, RecordEncoder

    if first is not None and config.encoder != TextEncoderConfig():
        raise InputError("vectors are those of --first, so encoder would change nothing; leave it out")
    return RecordEncoder(config.encoder) if first is None else MatcherEncoder(first)


def compared(
    arguments: argparse.Namespace, sources: dict[str, Records], before: ResolvedEntities
) -> dict[str, Records]:
    """The two sources that --pairs and --lost are of, or the one, with all records that there are of each.

    Those that --pairs-of names; else the first two of this call; of a call that names one, the first two that the map
    has been told of.

    Raises:
        InputError: A name that is no source.
    """
    import polars as pl

    from features.records import Records
    from features.resolved_entities import RECORD_KEYS
    from training.entities.all_records import all_records

    known = list(dict.fromkeys([*before.settings.get("sources", before.entities.sources), *sources]))
    names = list(sources)[:2] if len(sources) > 1 else known[:2]
    if arguments.pairs_of is not None:
        names = [one.strip() for one in arguments.pairs_of.split(",")]
        if not 1 <= len(names) <= 2:
            raise InputError(
                f"--pairs-of is LEFT,RIGHT, the sources of left_id and right_id, got {arguments.pairs_of!r}"
            )
        if other := next((one for one in names if one not in known), None):
            raise InputError(f"--pairs-of names {other!r}, and the sources are {', '.join(known)}")
    records = all_records(sources, before, arguments.replace).records
    of = {name: records.filter(pl.col(RECORD_KEYS[0]) == name) for name in names}
    return {name: Records(f"the source {name}", one[RECORD_KEYS[1]], one.drop(RECORD_KEYS)) for name, one in of.items()}


def read_labelled(
    arguments: argparse.Namespace, sources: dict[str, Records]
) -> tuple[RecordPairs | None, dict[str, Any]]:
    """Labelled pairs of two sources, or of one; those of a table without a column of labels are all matches.

    Returns:
        The pairs, None where none are named; and what is to be said of them besides.

    Raises:
        InputError: A file that cannot be read, or whose labels are all empty; or ids that the sources lack.
    """
    if arguments.pairs is None:
        return None, {}
    import numpy as np

    from features.sources.record_tables import label_column, read_pairs

    tables, path = list(sources.values()), Path(arguments.pairs)
    check_pairs([path], arguments.pairs_columns)
    label = label_column(path, arguments.pairs_columns)
    found = read_pairs([path], tables[0], tables[-1], labelled=True, columns=arguments.pairs_columns)
    if label is None:
        return replace(found, labels=np.ones(len(found), bool)), {"taken_for_the_same": str(path)}
    if found.labels is None:
        raise InputError(f"{path} has no label: its column {label!r} is empty")
    return found, {}
