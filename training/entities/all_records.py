"""All records that entities are made of: those that are told now, and those that were told before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from features.errors import InputError
from features.records import Records
from features.resolved_entities import RECORD_KEYS, ResolvedEntities

#: whether a record is new; as the keys, no attribute's name
_FRESH = "$fresh"


@dataclass(frozen=True, eq=False)
class AllRecords:
    """All records there are, by source and id.

    Args:
        records: Columns $source, $record_id and attributes. (n rows)
        fresh: Which are new, or told otherwise than before. (n,) bool
        known: Which were there before. (n,) bool
        gone: Columns $source and $record_id of those that were there before, and are no more. (m rows)
    """

    records: pl.DataFrame
    fresh: np.ndarray
    known: np.ndarray
    gone: pl.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """How many records are new, changed, as before; and how many more are gone."""
        return {
            "new_records": int((~self.known).sum()),
            "changed_records": int((self.known & self.fresh).sum()),
            "unchanged_records": int((~self.fresh).sum()),
            "removed_records": self.gone.height,
        }

    @property
    def counted(self) -> str:
        """The same in words."""
        new, changed, unchanged, removed = self.counts.values()
        told = f"{len(self.fresh):,} records: {new:,} new, {changed:,} changed, {unchanged:,} as before"
        return told + (f"; {removed:,} more are gone" if removed else "")

    @cached_property
    def table(self) -> Records:
        """What is told of them; ids are rows."""
        values = self.records.drop(RECORD_KEYS)
        return Records("the records", pl.Series("id", np.arange(values.height)), values)

    @cached_property
    def source(self) -> np.ndarray:
        """A number a source. (n,)"""
        return self.records[RECORD_KEYS[0]].rank("dense").to_numpy().astype(np.int64) - 1

    @cached_property
    def alike(self) -> np.ndarray:
        """The first row of the same source that tells the very same. (n,) int64"""
        told = self.records.drop(RECORD_KEYS[1]).with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(_FRESH))
        first = pl.col(_FRESH).first().over([one for one in told.columns if one != _FRESH])
        return told.select(first)[_FRESH].to_numpy()

    def rows(self, sources: pl.Series, ids: pl.Series) -> np.ndarray:
        """The row of each record, -1 where there is none."""
        known = self.records.select(*RECORD_KEYS, row=pl.int_range(pl.len(), dtype=pl.Int64))
        asked = pl.DataFrame([sources.alias(RECORD_KEYS[0]), ids.alias(RECORD_KEYS[1])])
        return asked.join(known, on=RECORD_KEYS, how="left", maintain_order="left")["row"].fill_null(-1).to_numpy()


def all_records(sources: Mapping[str, Records], before: ResolvedEntities, replaced: Collection[str] = ()) -> AllRecords:
    """What is told now, with what was told before of other records.

    Args:
        sources: Tables by the names of their sources.
        before: What was resolved before.
        replaced: Sources of which nothing stays but what is told now.

    Raises:
        InputError: No table, a name that cannot be, tables with other attributes than each other or than what was
            resolved before, or a source to be replaced by nothing.
    """
    if not sources:
        raise InputError("there is no table of records to resolve")
    if other := next((one for one in replaced if one not in sources), None):
        raise InputError(f"{other!r} is to be replaced, and nothing is told of it now")
    wanted, whose = before.attributes, "what was resolved before has"
    frames = []
    for name, one in sources.items():
        if not name or ":" in name:
            raise InputError(f"a source is called {name!r}; a name is not empty, and has no colon in it")
        if wanted and one.attributes != wanted:
            raise InputError(
                f"{one.name} tells {', '.join(one.attributes)}, and {whose} {', '.join(wanted)}: map its columns to "
                "those"
            )
        if set(one.attributes) & {*RECORD_KEYS, _FRESH}:
            raise InputError(f"{one.name} has an attribute that begins with '$', as names of this program's own do")
        wanted, whose = one.attributes, f"{one.name} tells"
        source = pl.lit(name).alias(RECORD_KEYS[0])
        frames.append(one.values.select(source, one.ids.cast(pl.String).alias(RECORD_KEYS[1]), pl.all()))
    now = pl.concat(frames)
    earlier = before.records.filter(~pl.col(RECORD_KEYS[0]).is_in(list(replaced)))
    same = now.join(before.records, on=now.columns, how="semi").select(RECORD_KEYS) if before.records.height else None
    fresh = pl.lit(True).alias(_FRESH)
    keys = before.records.select(RECORD_KEYS)
    if same is None:
        every = np.ones(now.height, bool)
        return AllRecords(now.sort(RECORD_KEYS), every, ~every, keys)
    now = now.join(same.with_columns(pl.lit(False).alias(_FRESH)), on=RECORD_KEYS, how="left")
    now = now.with_columns(pl.col(_FRESH).fill_null(fresh))
    stay = earlier.join(now, on=RECORD_KEYS, how="anti").with_columns(pl.lit(False).alias(_FRESH))
    both = pl.concat([now.select(stay.columns), stay]).sort(RECORD_KEYS)
    known = both.join(keys.with_columns(known=True), on=RECORD_KEYS, how="left", maintain_order="left")["known"]
    gone = keys.join(both, on=RECORD_KEYS, how="anti", maintain_order="left")
    return AllRecords(both.drop(_FRESH), both[_FRESH].to_numpy(), known.fill_null(False).to_numpy(), gone)
