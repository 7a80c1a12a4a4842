"""What blocking saves and what it loses: recall against candidates, and the work of each way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.record_pairs import RecordPairs
from recsys.blocking.candidates import Candidates
from recsys.blocking.terms import TermsConfig, TermSpace, paired, texts_of


@dataclass(frozen=True)
class BlockingReport:
    """What became of all pairs of two tables.

    Args:
        pairs: Candidates.
        per_record: For each record of the smaller table, on average.
        reduction: Share of all pairs that need no look.
        matches: Known ones; None where none are known, and then nothing is known of recall.
        recall: Share of them that are candidates.
        curve: Columns per_record and recall: how the surest candidates alone would do, up to all of them.
        ways: Columns way, recall, and alone: the share that only this way finds.
    """

    pairs: int
    per_record: float
    reduction: float
    matches: int | None = None
    recall: float | None = None
    curve: pl.DataFrame | None = None
    ways: pl.DataFrame | None = None

    def __str__(self) -> str:
        told = f"{self.pairs:,} candidates, {self.per_record:.1f} a record, {self.reduction:.3%} of all pairs spared"
        if self.recall is None:
            return told
        return f"{told}; {self.recall:.2%} of {self.matches:,} known matches are among them"


def report(candidates: Candidates, matches: RecordPairs | None = None, points: int = 40) -> BlockingReport:
    """What blocking saves, and what it loses of what is known.

    Args:
        candidates: Of two tables, or of one.
        matches: Pairs of the same tables that are known to be the same: those labelled so, or all where none has a
            label.
        points: Of the curve, at the most.
    """
    n, m = len(candidates.left), len(candidates.right)
    every = n * (n - 1) // 2 if candidates.left is candidates.right else n * m
    told = (len(candidates), candidates.per_record, 1 - len(candidates) / max(every, 1))
    known = None if matches is None else same_of(matches)
    if known is None or not len(known):
        return BlockingReport(*told)
    places = candidates.places(known)
    found = places >= 0
    ranks = np.linspace(0, len(candidates), points + 1).round().astype(np.int64)[1:]
    each = candidates.per_record / max(len(candidates), 1)
    curve = pl.DataFrame(
        {"per_record": ranks * each, "recall": [float((found & (places < rank)).mean()) for rank in ranks]}
    )
    by_way = np.zeros((len(known), len(candidates.ways)), bool)  # (matches, ways)
    by_way[found] = (candidates.ranks[places[found]] >= 0).any(axis=2)
    alone = by_way & (by_way.sum(axis=1, keepdims=True) == 1)
    ways = pl.DataFrame({"way": candidates.ways, "recall": by_way.mean(axis=0), "alone": alone.mean(axis=0)})
    return BlockingReport(*told, len(known), float(found.mean()), curve, ways)


def frame(candidates: Candidates) -> pl.DataFrame:
    """Candidates as a table for whoever judges or labels them, the surest first.

    Returns:
        Columns left_id, right_id, similar (the cosine of the n-grams of all that is told), strength (the sum of
        1 / rank) and by (the ways that found the pair, such as "characters+words"). (m rows)
    """
    found = (candidates.ranks >= 0).any(axis=2)  # (m, ways)
    numbers = 1 << np.arange(len(candidates.ways))
    named = ["+".join(np.array(candidates.ways)[(numbers & n) > 0]) for n in range(2 * numbers[-1])]
    return candidates.pairs.frame().with_columns(
        similar=pl.Series(similar(candidates.pairs)),
        strength=pl.Series(candidates.strength),
        by=pl.Series(np.array(named)[found @ numbers], dtype=pl.String),
    )


def similar(pairs: RecordPairs) -> np.ndarray:
    """How alike both records of each pair are written: the cosine of the n-grams of all that is told. (m,) float32"""
    tables = dict.fromkeys((pairs.left, pairs.right))  # one or two
    texts = [texts_of(one.values) for one in tables]
    space = TermSpace(TermsConfig(), *texts)
    vectors = [space.vectors(one) for one in texts]
    return paired(vectors[0], vectors[-1], (pairs.left_rows, pairs.right_rows))


def same_of(pairs: RecordPairs) -> RecordPairs:
    """The pairs that are the same thing, each once; all, where none has a label."""
    rows = np.arange(len(pairs)) if pairs.labels is None else np.flatnonzero(pairs.labels)
    first = np.unique(pairs.codes()[rows], return_index=True)[1]
    return pairs.take(rows[np.sort(first)])
