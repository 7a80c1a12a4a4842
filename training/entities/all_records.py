"""All records that entities are made of: those that are told now, and those that were told before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from features.entity_store import ResolvedEntities
from features.errors import InputError
from features.records import Records

RECORD = ["source", "record_id"]


@dataclass(frozen=True, eq=False)
class AllRecords:
    """All records there are, by source and id.

    Args:
        records: Columns source, record_id and attributes. (n rows)
        fresh: Which are new, or told otherwise than before. (n,) bool
    """

    records: pl.DataFrame
    fresh: np.ndarray

    @property
    def source(self) -> np.ndarray:
        """A number a source. (n,)"""
        return self.records["source"].rank("dense").to_numpy().astype(np.int64) - 1

    def rows(self, sources: pl.Series, ids: pl.Series) -> np.ndarray:
        """The row of each record, -1 where there is none."""
        known = self.records.select(RECORD).with_row_index("row")
        asked = pl.DataFrame({"source": sources, "record_id": ids})
        return (
            asked.join(known, on=RECORD, how="left", maintain_order="left")["row"]
            .cast(pl.Int64)
            .fill_null(-1)
            .to_numpy()
        )


def all_records(sources: Mapping[str, Records], before: ResolvedEntities) -> AllRecords:
    """What is told now, with what was told before of other records.

    Raises:
        InputError: No table, or tables with other attributes than each other or than what was resolved before.
    """
    if not sources:
        raise InputError("there is no table of records to resolve")
    wanted, whose = before.attributes, "what was resolved before has"
    frames = []
    for name, one in sources.items():
        if wanted and one.attributes != wanted:
            raise InputError(
                f"{one.name} tells {', '.join(one.attributes)}, and {whose} {', '.join(wanted)}: map its columns to "
                "those"
            )
        wanted, whose = one.attributes, f"{one.name} tells"
        ids = one.ids.cast(pl.String).alias("record_id")
        frames.append(one.values.select(source=pl.lit(name), record_id=ids).hstack(one.values))
    now = pl.concat(frames)
    earlier = before.records
    if not earlier.height:
        records = now.sort(RECORD)
        return AllRecords(records, np.ones(records.height, bool))
    same = now.join(earlier, on=now.columns, how="semi").select(RECORD).with_columns(fresh=False)
    stay = earlier.join(now, on=RECORD, how="anti").with_columns(fresh=False)
    now = now.join(same, on=RECORD, how="left").with_columns(pl.col("fresh").fill_null(True))
    both = pl.concat([now.select(stay.columns), stay]).sort(RECORD)
    return AllRecords(both.drop("fresh"), both["fresh"].to_numpy())
