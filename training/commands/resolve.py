"""`recsys resolve`: tables of records to entities whose ids stay, all at once or as records arrive."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.options import configuration_arguments, json_argument, model_argument, say
from training.commands.record_options import judging
from training.commands.resolve_inputs import configuration, encoder_of, judge_of, read_labelled, read_sources

if TYPE_CHECKING:
    from features.records import Records
    from features.resolved_entities import ResolvedEntities
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
    parser.add_argument(
        "--lost",
        type=Path,
        metavar="FILE",
        help="a CSV of matches of the first two sources that blocking has not kept: known ones, then likely ones",
    )
    parser.add_argument(
        "--replace",
        action="append",
        default=[],
        metavar="NAME",
        help="this source's table is all of it: earlier records that it lacks are gone; can be repeated",
    )
    parser.add_argument("--anew", action="store_true", help="judge all pairs again, by other rules than before")
    configuration_arguments(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resolves, writes and says what came of it."""
    from features.entity_store import is_store, read_entities, write_entities, writing
    from features.resolved_entities import ResolvedEntities
    from training.entities.resolve import resolve

    if arguments.lost is not None and (arguments.lost.suffix != ".csv" or not arguments.lost.parent.is_dir()):
        raise InputError(f"--lost is a .csv in a folder that is there, got {arguments.lost}")
    with writing(arguments.into):
        before = read_entities(arguments.into) if is_store(arguments.into) else ResolvedEntities()
        config = configuration(arguments, before)
        judge, first = judge_of(arguments, config)
        sources = read_sources(arguments, judge.matcher.manifest.attributes if judge is not None else before.attributes)
        labelled = read_labelled(arguments, sources)
        encode = encoder_of(config, first)
        told = {"replaced": arguments.replace, "anew": arguments.anew, "encode": encode, "say": say}
        with judging() as bar:
            found = resolve(sources, config, judge, before, progress=bar, **told)
        figures = found.figures
        if labelled is not None:
            from recsys.entities.agreement import against_labels, among_candidates

            names = list(sources)[:2]
            figures |= {"labels": against_labels(found.resolved.entities, labelled, *names)}
            figures["labels"]["among_candidates"] = among_candidates(found.resolved.pairs, labelled, *names)
        if arguments.lost is not None:
            figures |= {"lost": _write_lost(arguments.lost, sources, config, encode, labelled)}
        if not found.resolved.same_as(before):
            write_entities(arguments.into, found.resolved)
    figures |= {"into": str(arguments.into)}
    if arguments.json:
        print(json.dumps(figures))
        return 0
    print(_told(figures, before))
    return 0


def _write_lost(path: Path, sources: dict[str, Records], config: ResolveConfig, encode: Any, labelled: Any) -> int:
    """Matches of the first two sources that are no candidates: those that are known, and those that are likely."""
    import polars as pl

    from recsys.blocking.blocker import block
    from recsys.blocking.lost import likely_lost, lost_matches
    from training.commands.record_options import written_in_one_step

    tables = list(sources.values())
    found = block(tables[0], tables[min(1, len(tables) - 1)], config.blocking, encode)
    lost = likely_lost(found)
    if labelled is not None:
        known = lost_matches(found, labelled).with_columns(by=pl.lit("known"))
        lost = pl.concat([known.select(lost.columns), lost])
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
            f"{said['among_candidates']:.2%} of what is the same was among the candidates; {said['unlabelled']:,} "
            "pairs of entities have no label"
        )
    lines.append(f"version {figures['version']}  {figures['into']}")
    return "\n".join(lines)
