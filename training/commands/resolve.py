"""`recsys resolve`: tables of records to entities whose ids stay, all at once or as records arrive."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.options import (
    configuration_arguments,
    json_argument,
    model_argument,
    print_configuration,
    say,
)
from training.commands.record_options import judging, pairs_columns_argument
from training.commands.resolve_inputs import (
    compared,
    configuration,
    encoder_of,
    judge_of,
    read_labelled,
    read_sources,
)
from training.commands.written_tables import TABLES, check_out, written_in_one_step

if TYPE_CHECKING:
    from features.record_pairs import RecordPairs
    from training.entities.resolve import Resolution


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "sources",
        metavar="NAME=FILE",
        nargs="*",
        help="a table of records, CSV or parquet, and what its source is called; one alone is searched for duplicates",
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FOLDER",
        help="where the entities are kept; where there are some already, records join them, and ids stay",
    )
    parser.add_argument("--id", action="append", default=[], metavar="NAME=COLUMN", help="a source's ids (default: id)")
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="NAME:ATTRIBUTE=COLUMN,...",
        help="what is told of a source's records, and by which columns (default: all columns of the first source; of "
        "others, those of them that they have)",
    )
    how = parser.add_argument_group("judgement")
    model_argument(how, required=False, what=": a matcher; without one, the data say by themselves what is the same")
    how.add_argument(
        "--first", metavar="MODEL", help="a cheap matcher that judges all pairs besides, where --model judges some"
    )
    parser.add_argument("--one-to-one", action="store_true", help="no record has two partners in one other source")
    parser.add_argument("--duplicates", action="store_true", help="records of one source may be the same, too")
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        help="labelled pairs (left_id, right_id, and label, 0 or 1; all are matches where there is no such column): "
        "how right; ids may be of this call, or of the map",
    )
    pairs_columns_argument(parser)
    parser.add_argument(
        "--pairs-of",
        metavar="LEFT,RIGHT",
        help="the sources of left_id and right_id, for --pairs, --lost and --candidates (default: the first two of "
        "this call; where it names one, the first two that the map was told of)",
    )
    parser.add_argument(
        "--candidates",
        type=Path,
        metavar="FILE",
        help="write the candidates of these two sources, .csv or .parquet: left_id, right_id, similar, strength, by; "
        "without --into that is all that is done",
    )
    parser.add_argument(
        "--lost",
        type=Path,
        metavar="FILE",
        help="a CSV of matches of these two sources that blocking has not kept: known ones, then likely ones",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the entities as a table besides, .csv or .parquet: entity_id, source, record_id, and what is told",
    )
    parser.add_argument(
        "--replace",
        action="append",
        default=[],
        metavar="NAME",
        help="this source's table is all of it: earlier records that it lacks are gone; can be repeated",
    )
    parser.add_argument(
        "--gone",
        type=Path,
        metavar="FILE",
        help="write which records are gone, .csv or .parquet: source, record_id, entity_id, and now (what that became)",
    )
    parser.add_argument("--anew", action="store_true", help="judge all pairs again, by other rules than before")
    configuration_arguments(parser)
    parser.add_argument("--print-config", action="store_true", help="print all settings as YAML, and end")
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Resolves, writes and says what came of it."""
    from features.entity_store import is_store, read_entities, write_entities, writing
    from features.resolved_entities import ResolvedEntities
    from training.commands.resolve_candidates import alone, write_pairs
    from training.commands.resolve_report import gone_records, told
    from training.entities.resolve import resolve

    def known() -> ResolvedEntities:
        there = arguments.into is not None and is_store(arguments.into)
        return read_entities(arguments.into) if there else ResolvedEntities()

    if arguments.print_config:
        return print_configuration(configuration(arguments, known()))
    _check(arguments)
    if arguments.into is None:
        return alone(arguments)
    with writing(arguments.into):
        before = known()
        config = configuration(arguments, before)
        judge, first = judge_of(arguments, config, before)
        attributes = judge.matcher.manifest.attributes if judge is not None else before.attributes
        sources = read_sources(arguments, attributes, say)
        of_two = any(one is not None for one in (arguments.pairs, arguments.lost, arguments.candidates))
        both = compared(arguments, sources, before) if of_two else {}
        labelled, besides = read_labelled(arguments, both)
        encode = encoder_of(config, first)
        rules = {"replaced": arguments.replace, "anew": arguments.anew, "encode": encode, "say": say}
        with judging() as bar:
            found = resolve(sources, config, judge, before, progress=bar, **rules)
        figures, gone = found.figures, gone_records(before.entities, found.resolved.entities)
        if labelled is not None:
            figures |= {"labels": {**_against(found, labelled, list(both)), **besides}}
        figures |= write_pairs(arguments, both, config, encode, labelled)
        if not found.resolved.same_as(before):
            write_entities(arguments.into, found.resolved)
    for path, table in ((arguments.out, found.resolved.table()), (arguments.gone, gone)):
        if path is not None:
            written_in_one_step(table, path)
    figures |= {"into": str(arguments.into)}
    print(json.dumps(figures) if arguments.json else told(figures, before.entities, gone))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuses what cannot be done or written, before anything is read.

    Raises:
        InputError: Names the option.
    """
    if not arguments.sources:
        raise InputError("there is no table to resolve: name one or more, as NAME=FILE")
    if arguments.into is None:
        if arguments.candidates is None:
            raise InputError(
                "--into names the folder where entities are kept, and is missing; for candidates alone there is "
                "--candidates FILE"
            )
        for option in ("out", "gone", "replace", "anew"):
            if getattr(arguments, option):
                raise InputError(f"--{option} is of entities, and --into names no folder for them")
    written = [one for one in ("out", "gone", "candidates", "lost") if getattr(arguments, one) is not None]
    for n, option in enumerate(written):
        check_out(arguments, option, (".csv",) if option == "lost" else TABLES)
        for other in written[:n]:
            if getattr(arguments, option).resolve() == getattr(arguments, other).resolve():
                raise InputError(f"--{option} and --{other} are one file: name another one for either")
    of_two = (arguments.pairs, arguments.lost, arguments.candidates)
    if arguments.pairs_of is not None and all(one is None for one in of_two):
        raise InputError("--pairs-of says of which sources --pairs, --lost and --candidates are, and none is given")
    if arguments.pairs_columns is not None and arguments.pairs is None:
        raise InputError("--pairs-columns says what the columns of --pairs are called, and none is given")


def _against(found: Resolution, labelled: RecordPairs, names: list[str]) -> dict[str, Any]:
    """How far the entities agree with labels, and how many of these the candidates have."""
    from recsys.entities.agreement import against_labels, among_candidates

    left, right = names[0], names[-1]
    said = against_labels(found.resolved.entities, labelled, left, right)
    share = among_candidates(found.resolved.pairs, labelled, left, right)
    return {"sources": [left, right], **said, "among_candidates": share}
