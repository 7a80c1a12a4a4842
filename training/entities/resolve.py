"""Records to entities, in one job: candidates, judgement, clusters, and ids that stay; for all records, or new ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
import polars as pl

from features.entity_map import EntityMap
from features.record_pairs import RecordPairs
from features.records import Records
from features.resolved_entities import PAIRS, RECORD_KEYS, ResolvedEntities
from recsys.blocking.blocker import Encode
from recsys.entities.assignment import one_to_one
from recsys.entities.clusters import ClusterKind, Sources, clusters
from recsys.entities.stable_ids import updated
from recsys.matching.similarities import Comparison
from serving.entities.judges import Judge, Judged, Progress, SelfTrainedJudge
from training.entities.all_records import AllRecords, all_records
from training.entities.candidates import candidates, strangers
from training.entities.config import ResolveConfig
from training.entities.rules import check_rules

#: above 0 is likely the same, and at the threshold a pair is
_AT_THRESHOLD = 1e-9


@dataclass(frozen=True, eq=False)
class Resolution:
    """What a job came to.

    Args:
        resolved: Entities, and what they follow from.
        pairs: The candidates that were judged, of all records.
        figures: Records, candidates, entities, events and seconds by stage.
    """

    resolved: ResolvedEntities
    pairs: RecordPairs
    figures: dict[str, Any]


@dataclass
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    def done(self, stage: str) -> None:
        """A stage is over."""
        now = time.perf_counter()
        self.seconds[stage], self._began = now - self._began, now


def resolve(
    sources: Mapping[str, Records],
    config: ResolveConfig | None = None,
    judge: Judge | None = None,
    before: ResolvedEntities | None = None,
    replaced: Collection[str] = (),
    anew: bool = False,
    encode: Encode | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda done, total: None,
) -> Resolution:
    """Finds out which records are the same thing.

    Args:
        sources: Tables of records by the names of their sources, all with the same attributes.
        config: How.
        judge: What says of pairs how likely they are the same; the data by themselves, where not given.
        before: What was resolved before: its records stay, those that are told anew are judged anew, and entities keep
            their ids.
        replaced: Sources of which nothing stays but what is told now.
        anew: Judges all pairs again, by whatever rules there are now.
        encode: What makes vectors of records, where blocking looks by vectors.
        say: Called with a line now and then.
        progress: Called with how many pairs are judged, and how many there are.

    Raises:
        InputError: No source, or sources with other attributes than each other or than what was resolved before; other
            rules than before, and not `anew`; or one to one of a single source.
    """
    config, before, clock = config or ResolveConfig(), before or ResolvedEntities(), _Clock()
    told = all_records(sources, before, replaced)
    config = config.of_sources(int(told.source.max()) + 1)
    table, lasting = told.table, judge is not None and judge.lasting
    if before.entities.version and not anew:
        check_rules(before.settings, config, judge)
    fresh = told.fresh if lasting and not anew else np.ones(len(table), bool)
    say(f"{told.counted}; looking for candidates")
    pairs = candidates(told, fresh, config, encode)
    clock.done("blocking")
    if judge is None:
        judge = SelfTrainedJudge(
            Comparison(table, encode=encode),
            strangers=strangers(told, config, encode),
            source=told.source,
            several=config.duplicates,
            each_alone=config.one_to_one,
        )
    say(f"judging {len(pairs):,} candidates, {len(pairs) / max(int(fresh.sum()), 1):.1f} a new record")
    judged = judge.judge(pairs, progress) if len(pairs) else Judged(np.zeros(0), ())
    clock.done("judging")
    earlier = before if lasting and not anew else ResolvedEntities()
    every, log_odds = _with_earlier(pairs, judged.log_odds, told, earlier)
    cluster = _clustered(every, log_odds + _AT_THRESHOLD, told, config)
    keys = dict(zip(RECORD_KEYS, ("source", "record_id"), strict=True))
    clustered = told.records.select(RECORD_KEYS).rename(keys).with_columns(cluster=pl.Series(cluster))
    entities = updated(before.entities, clustered)
    clock.done("clusters")
    named = [*before.settings.get("sources", before.entities.sources), *sources]
    settings = {"judge": judge.settings, "config": asdict(config), "sources": list(dict.fromkeys(named))}
    settings = json.loads(json.dumps(settings))  # as it is read again
    figures = {
        "records": len(table),
        **told.counts,
        "candidates": len(judged.log_odds),
        "stages": [vars(one) for one in judged.stages],
        "pairs": len(every),
        "pairs_called_same": int((log_odds >= 0).sum()),
        "pairs_joined": int(((log_odds >= 0) & (cluster[every.left_rows] == cluster[every.right_rows])).sum()),
        "one_to_one": config.one_to_one,
        "entities": len(entities),
        "largest_entity": int(np.bincount(cluster).max()),
        "version": entities.version,
        "events": events_since(entities, before.entities.version),
        "seconds": {name: round(one, 3) for name, one in clock.seconds.items()},
    }
    if isinstance(judge, SelfTrainedJudge) and judge.learned is not None:
        # of pairs that are best of each other, and by decoys that look less like matches than variants do
        estimate = {"precision": judge.learned.precision, "recall": judge.learned.recall}
        figures["estimated"] = {**estimate, "called": figures["pairs_called_same"], "bias": "likely too high"}
    return Resolution(ResolvedEntities(entities, told.records, _frame(told, every, log_odds), settings), pairs, figures)


def events_since(entities: EntityMap, version: int) -> dict[str, int]:
    """What has happened to ids after a version, each id counted once.

    Returns:
        How many were given ("new", or "split" to what was part of another entity), were retired since their records
        are elsewhere ("merge") or nowhere ("gone"), lead somewhere again ("back"), or have lost records to other ids
        that were there before ("moved"); without those that are 0.
    """
    log = entities.log.filter(pl.col("version") > version)

    def ids(event: str, column: str) -> set[int]:
        return set(log.filter(pl.col("event") == event)[column].to_list())

    given, apart = ids("new", "entity_id"), ids("split", "other_id")
    moved = log.filter((pl.col("event") == "split") & ~pl.col("other_id").is_in(list(given)))
    found = {
        "new": given - apart,
        "split": given & apart,
        "merge": ids("merge", "other_id"),
        "gone": ids("gone", "entity_id"),
        "back": ids("back", "other_id"),
        "moved": set(moved["entity_id"].to_list()),
    }
    return {name: len(one) for name, one in found.items() if one}


def _with_earlier(
    pairs: RecordPairs, log_odds: np.ndarray, told: AllRecords, before: ResolvedEntities
) -> tuple[RecordPairs, np.ndarray]:
    """With the pairs that were judged before, of records that are told as they were."""
    if not before.pairs.height:
        return pairs, log_odds
    rows = [told.rows(before.pairs[f"{side}_source"], before.pairs[f"{side}_id"]) for side in ("left", "right")]
    stay = (rows[0] >= 0) & (rows[1] >= 0)
    stay &= ~(told.fresh[rows[0]] | told.fresh[rows[1]])
    new = (pairs.left_rows, pairs.right_rows)
    sides = (np.concatenate([one[stay], some]) for one, some in zip(rows, new, strict=True))
    odds = np.concatenate([before.pairs["log_odds"].to_numpy()[stay], log_odds])
    return RecordPairs(pairs.left, pairs.right, *sides), odds


def _clustered(pairs: RecordPairs, log_odds: np.ndarray, told: AllRecords, config: ResolveConfig) -> np.ndarray:
    """A number a record, the same for those of one entity. (n,)"""
    source, alike = told.source, told.alike
    if not config.duplicates:  # records that say the same are different things all the same
        alike = np.arange(len(source))
    rows = np.stack([alike[pairs.left_rows], alike[pairs.right_rows]])
    if config.one_to_one:
        which = source[rows]
        code = which.min(axis=0) * (int(source.max()) + 1) + which.max(axis=0)
        turned = which[0] > which[1]
        rows[:, turned] = rows[::-1, turned]
        some = [
            places[one_to_one(rows[0, places], rows[1, places], log_odds[places])]
            for places in (np.flatnonzero(code == one) for one in np.unique(code))
        ]
        kept = np.concatenate(some) if some else np.zeros(0, np.int64)
        rows, log_odds = rows[:, kept], log_odds[kept]
    of = Sources(source, config.duplicates, config.one_to_one)
    kind = cast("ClusterKind", config.clusters)  # which refuses others
    return clusters(len(source), (rows[0], rows[1]), log_odds, kind, of)[alike]


def _frame(told: AllRecords, pairs: RecordPairs, log_odds: np.ndarray) -> pl.DataFrame:
    """The pairs as a store keeps them."""
    named = [
        told.records[rows].select(
            pl.col(RECORD_KEYS[0]).alias(f"{side}_source"), pl.col(RECORD_KEYS[1]).alias(f"{side}_id")
        )
        for side, rows in (("left", pairs.left_rows), ("right", pairs.right_rows))
    ]
    frame = pl.concat(named, how="horizontal").with_columns(log_odds=pl.Series(log_odds, dtype=pl.Float64))
    return frame.select(list(PAIRS)).sort(list(PAIRS)[:4])
