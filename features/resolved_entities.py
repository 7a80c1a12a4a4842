"""Entities together with the records and the judged pairs that they follow from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from features.entity_map import EntityMap

#: columns of the records that say which they are; no attribute is called so
RECORD_KEYS = ("$source", "$record_id")
_KEYS = dict.fromkeys(RECORD_KEYS, pl.String)
PAIRS = {
    "left_source": pl.String,
    "left_id": pl.String,
    "right_source": pl.String,
    "right_id": pl.String,
    "log_odds": pl.Float64,
}


@dataclass(frozen=True, eq=False)
class ResolvedEntities:
    """Entities, and what they follow from.

    Args:
        entities: The map.
        records: Columns $source, $record_id, and a String column for each attribute. (n rows)
        pairs: Columns left_source, left_id, right_source, right_id and log_odds, less the threshold: above 0 both are
            likely the same. (m rows)
        settings: How they were resolved, as JSON has it.
    """

    entities: EntityMap = field(default_factory=EntityMap)
    records: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_KEYS))
    pairs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PAIRS))
    settings: dict[str, Any] = field(default_factory=dict)

    def same_as(self, other: ResolvedEntities) -> bool:
        """Whether nothing has changed."""
        tables = ((self.records, other.records), (self.pairs, other.pairs))
        return (
            self.entities.sha256 == other.entities.sha256
            and self.settings == other.settings
            and all(one.equals(another) for one, another in tables)
        )

    @property
    def attributes(self) -> list[str]:
        """What is told of a record."""
        return [one for one in self.records.columns if one not in _KEYS]

    def table(self) -> pl.DataFrame:
        """Records by their entities: columns entity_id, source, record_id, and what is told of each. (n rows)

        An attribute that is called as one of these has "_told" behind its name.
        """
        members = self.entities.members
        told = self.records.rename(
            dict(zip(RECORD_KEYS, ("source", "record_id"), strict=True))
            | {one: f"{one}_told" for one in self.attributes if one in members.columns}
        )
        found = members.join(told, on=["source", "record_id"], how="left", maintain_order="left")
        return found.select("entity_id", pl.exclude("entity_id")).sort("entity_id", "source", "record_id")
