"""Records to entities, in one job: candidates, judgement, clusters, and ids that stay; for all records, or new ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from features.entity_store import PAIRS, ResolvedEntities
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.blocking.blocker import Encode, block
from recsys.entities.assignment import one_to_one
from recsys.entities.clusters import clusters
from recsys.entities.stable_ids import updated
from recsys.matching.similarities import Comparison
from serving.entities.judges import Judge, Judged, Progress, SelfTrainedJudge
from training.entities.all_records import RECORD, AllRecords, all_records
from training.entities.config import ResolveConfig

#: above 0 is likely the same, and at the threshold a pair is
_AT_THRESHOLD = 1e-9


@dataclass(frozen=True, eq=False)
class Resolution:
    """What a job came to.

    Args:
        resolved: Entities, and what they follow from.
        figures: Records, candidates, entities, events and seconds by stage.
    """

    resolved: ResolvedEntities
    figures: dict[str, Any]


@dataclass
class _Clock:
    """Seconds by stage."""

    say: Callable[[str], None]
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
        encode: What makes vectors of records, where blocking looks by vectors.
        say: Called with a line now and then.
        progress: Called with how many pairs are judged, and how many there are.

    Raises:
        InputError: No source, or sources with other attributes than each other or than what was resolved before.
    """
    config, before, clock = config or ResolveConfig(), before or ResolvedEntities(), _Clock(say)
    told = all_records(sources, before)
    table = Records("the records", pl.Series("id", np.arange(told.records.height)), told.records.drop(RECORD))
    lasting = judge is not None and judge.lasting
    fresh = told.fresh if lasting else np.ones(len(table), bool)
    say(f"{int(told.fresh.sum()):,} of {len(table):,} records are new; looking for candidates")
    pairs = _candidates(told, table, fresh, config, encode)
    clock.done("blocking")
    if judge is None:
        strangers = _strangers(told, table, config, encode)
        judge = SelfTrainedJudge(Comparison(table, encode=encode), strangers=strangers, one_to_one=config.one_to_one)
    say(f"judging {len(pairs):,} candidates, {len(pairs) / max(int(fresh.sum()), 1):.1f} a new record")
    judged = judge.judge(pairs, progress) if len(pairs) else Judged(np.zeros(0), ())
    clock.done("judging")
    pairs, log_odds = _with_earlier(pairs, judged.log_odds, told, before if lasting else ResolvedEntities())
    log_odds = log_odds + _AT_THRESHOLD
    cluster = _clustered(pairs, log_odds, told.source, config)
    entities = updated(before.entities, told.records.select(RECORD).with_columns(cluster=pl.Series(cluster)))
    clock.done("clusters")
    frame = _frame(told.records, pairs, log_odds - _AT_THRESHOLD)
    settings = {"judge": judge.settings, "clusters": config.clusters, "one_to_one": config.one_to_one}
    events = entities.log.filter(pl.col("version") > before.entities.version)["event"].value_counts()
    figures = {
        "records": len(table),
        "new_records": int(told.fresh.sum()),
        "candidates": len(judged.log_odds),
        "stages": [vars(one) for one in judged.stages],
        "pairs_called_same": int((log_odds > 0).sum()),
        "entities": len(entities),
        "largest_entity": int(np.bincount(cluster).max()),
        "version": entities.version,
        "events": dict(events.iter_rows()),
        "seconds": {name: round(one, 3) for name, one in clock.seconds.items()},
    }
    if isinstance(judge, SelfTrainedJudge) and judge.learned is not None:
        figures["estimated"] = {"precision": judge.learned.precision, "recall": judge.learned.recall}
    return Resolution(ResolvedEntities(entities, told.records, frame, settings), figures)


def _candidates(
    told: AllRecords, table: Records, fresh: np.ndarray, config: ResolveConfig, encode: Encode | None
) -> RecordPairs:
    """Pairs that are worth a look, and have a new record: between sources, and inside where duplicates may be."""
    source = told.source
    names = np.unique(source)
    found: list[tuple[np.ndarray, np.ndarray]] = []

    def look(one: np.ndarray, other: np.ndarray) -> None:
        if not len(one) or not len(other):
            return
        left = table.take(one)
        right = left if other is one else table.take(other)
        if other is one and len(one) < 2:
            return
        some = block(left, right, config.blocking, encode)
        found.append((one[some.left_rows], other[some.right_rows]))

    for n, name in enumerate(names):
        rows = np.flatnonzero(source == name)
        new, old = rows[fresh[rows]], rows[~fresh[rows]]
        if config.duplicates or len(names) == 1:
            look(new, new)
            look(new, old)
        for other in names[n + 1 :]:
            others = np.flatnonzero(source == other)
            look(new, others)
            look(old, others[fresh[others]])
    pairs = [np.concatenate([one[side] for one in found]) if found else np.zeros(0, np.int64) for side in (0, 1)]
    low, high = np.minimum(*pairs), np.maximum(*pairs)
    codes = np.unique(low * len(table) + high)
    return RecordPairs(table, table, *np.divmod(codes, len(table)))


def _strangers(told: AllRecords, table: Records, config: ResolveConfig, encode: Encode | None) -> RecordPairs | None:
    """The nearest records inside each source, which are different things; none where there may be duplicates."""
    source = told.source
    if config.duplicates or source.max() == 0:
        return None
    found = []
    for name in np.unique(source):
        rows = np.flatnonzero(source == name)
        if len(rows) > 1:
            inside = table.take(rows)
            some = block(inside, inside, config.blocking, encode)
            found.append((rows[some.left_rows], rows[some.right_rows]))
    sides = (np.concatenate([one[side] for one in found]) if found else np.zeros(0, np.int64) for side in (0, 1))
    return RecordPairs(table, table, *sides)


def _with_earlier(
    pairs: RecordPairs, log_odds: np.ndarray, told: AllRecords, before: ResolvedEntities
) -> tuple[RecordPairs, np.ndarray]:
    """With the pairs that were judged before, of records that are told as they were."""
    if not before.pairs.height:
        return pairs, log_odds
    rows = [told.rows(before.pairs[f"{side}_source"], before.pairs[f"{side}_id"]) for side in ("left", "right")]
    stay = (rows[0] >= 0) & (rows[1] >= 0)
    stay &= ~(told.fresh[rows[0]] | told.fresh[rows[1]])
    sides = (
        np.concatenate([one[stay], new]) for one, new in zip(rows, (pairs.left_rows, pairs.right_rows), strict=True)
    )
    odds = np.concatenate([before.pairs["log_odds"].to_numpy()[stay], log_odds])
    return RecordPairs(pairs.left, pairs.right, *sides), odds


def _clustered(pairs: RecordPairs, log_odds: np.ndarray, source: np.ndarray, config: ResolveConfig) -> np.ndarray:
    """A number a record, the same for those of one entity. (n,)"""
    rows = np.stack([pairs.left_rows, pairs.right_rows])
    if config.one_to_one:
        which = source[rows]
        code = which.min(axis=0) * (int(source.max()) + 1) + which.max(axis=0)
        turned = which[0] > which[1]
        rows[:, turned] = rows[::-1, turned]
        kept = [
            places[one_to_one(*rows[:, places], log_odds[places])]
            for places in (np.flatnonzero(code == one) for one in np.unique(code))
        ]
        kept = np.concatenate(kept) if kept else np.zeros(0, np.int64)
        rows, log_odds = rows[:, kept], log_odds[kept]
    return clusters(len(source), (rows[0], rows[1]), log_odds, config.clusters)


def _frame(records: pl.DataFrame, pairs: RecordPairs, log_odds: np.ndarray) -> pl.DataFrame:
    """The pairs as a store keeps them."""
    sides = [records[rows].select(RECORD) for rows in (pairs.left_rows, pairs.right_rows)]
    named = [
        one.rename({"source": f"{side}_source", "record_id": f"{side}_id"})
        for side, one in zip(("left", "right"), sides, strict=True)
    ]
    frame = pl.concat(named, how="horizontal").with_columns(log_odds=pl.Series(log_odds, dtype=pl.Float64))
    return frame.select(list(PAIRS)).sort(list(PAIRS)[:4])
