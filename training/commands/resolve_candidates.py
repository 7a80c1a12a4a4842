"""Candidates of `recsys resolve` as a table, for whoever judges or labels them: with entities, or by themselves."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from training.commands.options import say
from training.commands.resolve_inputs import (
    compared,
    configuration,
    encoder_of,
    judge_of,
    read_labelled,
    read_sources,
)
from training.commands.written_tables import written_in_one_step

if TYPE_CHECKING:
    from features.record_pairs import RecordPairs
    from features.records import Records
    from recsys.blocking.blocker import Encode
    from training.entities.config import ResolveConfig


def alone(arguments: argparse.Namespace) -> int:
    """Looks for candidates, writes them, and judges none."""
    from features.resolved_entities import ResolvedEntities
    from training.commands.resolve_report import blocked

    before = ResolvedEntities()
    config = configuration(arguments, before)
    judge, first = judge_of(arguments, config, before)
    sources = read_sources(arguments, judge.matcher.manifest.attributes if judge is not None else [], say)
    both = compared(arguments, sources, before)
    labelled, _ = read_labelled(arguments, both)
    figures = write_pairs(arguments, both, config, encoder_of(config, first), labelled)
    print(json.dumps(figures) if arguments.json else blocked(figures["blocking"]))
    return 0


def write_pairs(
    arguments: argparse.Namespace,
    both: dict[str, Records],
    config: ResolveConfig,
    encode: Encode | None,
    labelled: RecordPairs | None,
) -> dict[str, Any]:
    """Writes what `--candidates` and `--lost` ask for.

    Args:
        arguments: Those of `recsys resolve`.
        both: Two sources, or one.
        config: How candidates are looked for.
        encode: What makes vectors of records, where they are looked by.
        labelled: Pairs of these sources.

    Returns:
        What there is to say of both: "blocking" and "lost", as they are asked for.
    """
    if arguments.candidates is None and arguments.lost is None:
        return {}
    from recsys.blocking.blocker import block
    from recsys.blocking.report import frame, report
    from training.commands.resolve_report import lost_pairs

    tables = list(both.values())
    figures: dict[str, Any] = {}
    found = block(tables[0], tables[-1], config.blocking, encode)
    if arguments.candidates is not None:
        written_in_one_step(frame(found), arguments.candidates)
        of = report(found, labelled)
        where = str(arguments.candidates)
        told = {"sources": list(both), "candidates": of.pairs, "per_record": of.per_record, "spared": of.reduction}
        figures["blocking"] = {**told, "matches": of.matches, "recall": of.recall, "told": str(of), "out": where}
    if arguments.lost is not None:
        lost = lost_pairs(found, labelled)
        written_in_one_step(lost, arguments.lost)
        figures["lost"] = lost.height
    return figures
