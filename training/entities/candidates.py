"""Which records are compared with which: those of different sources, and of one source where it has duplicates."""

from __future__ import annotations

import numpy as np

from features.record_pairs import RecordPairs
from recsys.blocking.blocker import Encode, block
from training.entities.all_records import AllRecords
from training.entities.config import ResolveConfig


def candidates(told: AllRecords, fresh: np.ndarray, config: ResolveConfig, encode: Encode | None = None) -> RecordPairs:
    """Pairs that are worth a look, and have a new record.

    Args:
        told: All records.
        fresh: Which of them are new. (n,) bool
        config: How they are looked for.
        encode: What makes vectors of records, where they are looked for by vectors.

    Returns:
        Of all records as one table; each pair once, the lower row first. (m pairs)
    """
    table, source = told.table, told.source
    one_of_each = told.alike == np.arange(len(table)) if config.duplicates else np.ones(len(table), bool)
    found = [np.zeros((2, 0), np.int64)]

    def look(one: np.ndarray, other: np.ndarray) -> None:
        same = other is one
        if not len(one) or not len(other) or (same and len(one) < 2):
            return
        left = table.take(one)
        some = block(left, left if same else table.take(other), config.blocking, encode)
        found.append(np.stack([one[some.left_rows], other[some.right_rows]]))

    names = np.unique(source)
    for n, name in enumerate(names):
        rows = np.flatnonzero((source == name) & one_of_each)
        new, old = rows[fresh[rows]], rows[~fresh[rows]]
        if config.duplicates:
            look(new, new)
            look(new, old)
        for other in names[n + 1 :]:
            others = np.flatnonzero((source == other) & one_of_each)
            look(new, others)
            look(old, others[fresh[others]])
    rows = np.sort(np.concatenate(found, axis=1), axis=0)
    codes = np.unique(rows[0] * len(table) + rows[1])
    return RecordPairs(table, table, *np.divmod(codes, len(table)))


def strangers(told: AllRecords, config: ResolveConfig, encode: Encode | None = None) -> RecordPairs | None:
    """The nearest records inside each source, which are different things; none where there may be duplicates."""
    if config.duplicates:
        return None
    table, source = told.table, told.source
    found = [np.zeros((2, 0), np.int64)]
    for name in np.unique(source):
        rows = np.flatnonzero(source == name)
        if len(rows) > 1:
            inside = table.take(rows)
            some = block(inside, inside, config.blocking, encode)
            found.append(np.stack([rows[some.left_rows], rows[some.right_rows]]))
    return RecordPairs(table, table, *np.concatenate(found, axis=1))
