"""`recsys resolve`: tables of records to entities whose ids stay, all at once or as records arrive."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.options import configuration_arguments, json_argument, model_argument, say
from training.commands.record_options import judging, mapping

if TYPE_CHECKING:
    from features.entity_store import ResolvedEntities
    from features.records import Records
    from serving.entities.judges import Judge
    from training.entities.config import ResolveConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "sources",
        metavar="NAME=FILE",
        nargs="+",
        help="a table of records, CSV or parquet, and what its source is called; one alone is searched for duplicates",
    )
    parser.add_argument(
        "--into",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where the entities are kept; where there are some already, records join them, and ids stay",
    )
    parser.add_argument("--id", action="append", default=[], metavar="NAME=COLUMN", help="a source's ids (default: id)")
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="NAME:ATTRIBUTE=COLUMN,...",
        help="what is told of a source's records, and by which columns (default: all columns of the first source)",
    )
    how = parser.add_argument_group("judgement")
    model_argument(how, required=False, what=": a matcher; without one, the data say by themselves what is the same")
    how.add_argument("--first", metavar="MODEL", help="a cheap matcher that judges all pairs before --model does some")
    parser.add_argument("--one-to-one", action="store_true", help="no record has two partners in one other source")
    parser.add_argument("--duplicates", action="store_true", help="records of one source may be the same, too")
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        help="labelled pairs (left_id and right_id of the first two sources, label): how right",
    )
    parser.add_argument("--lost", type=Path, metavar="FILE", help="a CSV of likely matches that blocking has not kept")
    configuration_arguments(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resolves, writes and says what came of it."""
    from features.entity_store import ResolvedEntities, check_store, is_store, read_entities, write_entities
    from training.config import load_config
    from training.entities.config import ResolveConfig
    from training.entities.resolve import resolve

    flags = [f"{name}=true" for name in ("one_to_one", "duplicates") if getattr(arguments, name)]
    config: ResolveConfig = load_config(arguments.config, [*arguments.settings, *flags], kind=ResolveConfig)
    if arguments.lost is not None and (arguments.lost.suffix != ".csv" or not arguments.lost.parent.is_dir()):
        raise InputError(f"--lost is a .csv in a folder that is there, got {arguments.lost}")
    check_store(arguments.into)
    judge = _judge(arguments, config)
    before = read_entities(arguments.into) if is_store(arguments.into) else ResolvedEntities()
    sources = _sources(arguments, judge.matcher.manifest.attributes if judge is not None else before.attributes)
    labelled = _labelled(arguments, sources)
    encode = _encoder(config)
    with judging() as bar:
        found = resolve(sources, config, judge, before, encode, say, bar)
    figures = found.figures
    if labelled is not None:
        from recsys.entities.agreement import against_labels

        figures |= {"labels": against_labels(found.resolved.entities, labelled, *list(sources)[:2])}
    if arguments.lost is not None:
        figures |= {"lost": _write_lost(arguments.lost, sources, config, encode)}
    if found.resolved.entities is not before.entities or not found.resolved.pairs.equals(before.pairs):
        write_entities(arguments.into, found.resolved)
    figures |= {"into": str(arguments.into)}
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print(_told(figures, before))
    return 0


def _sources(arguments: argparse.Namespace, attributes: list[str]) -> dict[str, Records]:
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


def _judge(arguments: argparse.Namespace, config: ResolveConfig) -> Judge | None:
    """What was asked to judge; None where the data are to say it."""
    if arguments.model is None:
        if arguments.first is not None or config.precision:
            what = "--first" if arguments.first is not None else "precision"
            raise InputError(f"{what} goes with a matcher, and --model names none")
        return None
    from serving.entities.judges import CascadeJudge, MatcherJudge
    from serving.matching.matcher import Matcher

    matcher = Matcher.load(arguments.model, arguments.tracking_uri)
    precision = config.precision or None
    if arguments.first is None:
        return MatcherJudge(matcher, precision)
    budget = {"pairs": config.cascade.pairs or None, "minutes": config.cascade.minutes or None}
    if not any(budget.values()):
        raise InputError("--first needs a budget for --model: --set cascade.pairs=N or cascade.minutes=M")
    return CascadeJudge(Matcher.load(arguments.first, arguments.tracking_uri), matcher, **budget, precision=precision)


def _encoder(config: ResolveConfig) -> Any:
    """What makes vectors of records, where they are looked by."""
    if "vectors" not in config.blocking.ways:
        return None
    from serving.entities.vectors import RecordEncoder

    return RecordEncoder(config.encoder)


def _labelled(arguments: argparse.Namespace, sources: dict[str, Records]) -> Any:
    """Labelled pairs of the first two sources."""
    if arguments.pairs is None:
        return None
    from features.sources.record_tables import read_pairs

    tables = list(sources.values())
    return read_pairs([Path(arguments.pairs)], tables[0], tables[min(1, len(tables) - 1)], labelled=True)


def _write_lost(path: Path, sources: dict[str, Records], config: ResolveConfig, encode: Any) -> int:
    """Likely matches of the first two sources that are no candidates."""
    from recsys.blocking.blocker import block
    from recsys.blocking.lost import likely_lost
    from training.commands.record_options import written_in_one_step

    tables = list(sources.values())
    lost = likely_lost(block(tables[0], tables[min(1, len(tables) - 1)], config.blocking, encode))
    written_in_one_step(lost, path)
    return lost.height


def _told(figures: dict[str, Any], before: ResolvedEntities) -> str:
    """What came of it, for people."""
    lines = [
        f"{figures['records']:,} records ({figures['new_records']:,} new) are {figures['entities']:,} entities, the "
        f"largest of {figures['largest_entity']:,}"
    ]
    lines += [
        f"{one['name']}: {one['pairs']:,} pairs judged, {one['same']:,} the same, in {one['seconds']:.1f} s"
        for one in figures["stages"]
    ]
    if "estimated" in figures:
        told = figures["estimated"]
        lines.append(
            f"estimated without a label: {told['precision']:.0%} of the pairs called the same are, and of those that "
            f"are {told['recall']:.0%} are called so"
        )
    if before.entities.version:
        events = figures["events"] or {"no change": 0}
        lines.append("since the last time: " + ", ".join(f"{n:,} {what}" if n else what for what, n in events.items()))
    if "labels" in figures:
        said = figures["labels"]
        lines.append(
            f"against labels: precision {said['precision']:.4f}  recall {said['recall']:.4f}  F1 {said['f1']:.4f}; "
            f"{said['unlabelled']:,} pairs of entities have no label"
        )
    lines.append(f"version {figures['version']}  {figures['into']}")
    return "\n".join(lines)
