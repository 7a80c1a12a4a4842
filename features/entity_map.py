"""Which entity each record is: a map that changes as records arrive, and whose ids never do.

An id stands for one entity for ever. When two become one, the id of one of them is retired and redirects to the other;
it is never given again. Every change is in the log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from features.digest import sha256_of
from features.errors import InputError

MEMBERS = {"source": pl.String, "record_id": pl.String, "entity_id": pl.Int64}
REDIRECTS = {"retired": pl.Int64, "entity_id": pl.Int64}
_RECORD = ("source", "record_id")
LOG = {"version": pl.Int64, "event": pl.String, "entity_id": pl.Int64, "other_id": pl.Int64, "records": pl.Int64}


@dataclass(frozen=True, eq=False)
class EntityMap:
    """Records and their entities.

    Args:
        version: 0 before any record; each change is one more.
        members: Columns source, record_id and entity_id, by source and record. (n rows)
        redirects: Columns retired and entity_id: what has taken the place of an id, null where all its records are
            gone.
        log: Columns version, event, entity_id, other_id, records. Events: "new" (an id is given); "merge" (other_id is
            retired, its records are in entity_id now); "split" (so many records of entity_id are in other_id now);
            "gone" (entity_id is retired, for its records are gone); "back" (so many records of other_id, which was
            gone, have come back as entity_id, and it leads there).
        next_id: The next id that is given.
        departed: Columns as of members: records that are gone, and the entity that each was of at last.

    Example:
        >>> from recsys.entities.stable_ids import updated
        >>> one = updated(EntityMap(), pl.DataFrame({"source": ["a", "b"], "record_id": ["1", "7"], "cluster": [0, 0]}))
        >>> one.entities(pl.Series(["7", "8"])).to_list(), one
        ([1, None], EntityMap(version 1: 2 records of 2 sources are 1 entity))
    """

    version: int = 0
    members: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MEMBERS))
    redirects: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REDIRECTS))
    log: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LOG))
    next_id: int = 1
    departed: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MEMBERS))

    def __post_init__(self) -> None:
        schemas: dict[str, dict[str, Any]] = {
            "members": MEMBERS,
            "redirects": REDIRECTS,
            "log": LOG,
            "departed": MEMBERS,
        }
        for name, schema in schemas.items():
            frame = getattr(self, name)
            if dict(frame.schema) != schema:
                raise InputError(f"the {name} of an entity map are {', '.join(schema)}, got {dict(frame.schema)}")

    def __len__(self) -> int:
        return self.members["entity_id"].n_unique()

    def __repr__(self) -> str:
        sources, entities = self.members["source"].n_unique(), len(self)
        return (
            f"EntityMap(version {self.version}: {self.members.height:,} records of {sources:,} "
            f"source{'s' * (sources != 1)} are {entities:,} entit{'y' if entities == 1 else 'ies'})"
        )

    @cached_property
    def sha256(self) -> str:
        """Of which record is which entity, and of what has been retired."""
        return sha256_of(self.members, self.redirects)

    def entities(self, ids: pl.Series | Sequence[str | int], source: str | pl.Series | None = None) -> pl.Series:
        """The entity of each record, null where there is none.

        Args:
            ids: Of records. (n,)
            source: Their source, one for all or one for each; where not given, the ids are looked for in all, and an id
                that means different entities in two sources is an error.

        Returns:
            (n,) Int64

        Raises:
            InputError: An id that means two entities, or a source that the map does not know.
        """
        asked = pl.DataFrame({"record_id": _series(ids, "ids of records").cast(pl.String)})
        if source is None:
            known = self._of_any_source
            twice = asked.join(known.filter(pl.col("several")), on="record_id", how="semi")
            if twice.height:
                raise InputError(
                    f"the id {twice['record_id'][0]!r} means different things in different sources; say which source"
                )
            return asked.join(known, on="record_id", how="left", maintain_order="left")["entity_id"]
        asked = asked.with_columns(source=pl.lit(source) if isinstance(source, str) else source.cast(pl.String))
        strange = asked.filter(~pl.col("source").is_in(self.members["source"].unique().to_list()))
        if strange.height:
            raise InputError(f"the entity map has no source {strange['source'][0]!r}; it has {', '.join(self.sources)}")
        return asked.join(self.members, on=["source", "record_id"], how="left", maintain_order="left")["entity_id"]

    def current(self, ids: pl.Series | Sequence[int]) -> pl.Series:
        """What has become of entity ids: themselves, or what has taken their place; null where nothing has.

        Args:
            ids: Given at any time. (n,) Int64

        Raises:
            InputError: No list of whole numbers.
        """
        ids = _numbers(ids)
        there = self.members.select("entity_id", now="entity_id").unique()
        moved = self.redirects.select(entity_id="retired", now="entity_id")
        asked = pl.DataFrame({"entity_id": ids})
        return asked.join(pl.concat([there, moved]), on="entity_id", how="left", maintain_order="left")["now"].alias(
            ids.name
        )

    def records(self, ids: pl.Series | Sequence[int], source: str | None = None) -> pl.DataFrame:
        """The way back: what the feeds call entities.

        Args:
            ids: Of entities, given at any time. (n,) Int64
            source: Of this feed alone.

        Returns:
            Columns asked, entity_id (what has become of it), source and record_id: a line a record, in the order of the
            ids, then by source and record; none of an id that is gone, or that this feed tells nothing of.

        Raises:
            InputError: No list of whole numbers, or a source that the map does not know.

        Example:
            >>> from recsys.entities.stable_ids import updated
            >>> told = {"source": ["a", "b"], "record_id": ["1", "7"], "cluster": [0, 0]}
            >>> updated(EntityMap(), pl.DataFrame(told)).records([1], "b")["record_id"].to_list()
            ['7']
        """
        if source is not None and source not in self.sources:
            raise InputError(f"the entity map has no source {source!r}; it has {', '.join(self.sources)}")
        ids = _numbers(ids)
        asked = pl.DataFrame({"asked": ids, "entity_id": self.current(ids)})
        members = self.members if source is None else self.members.filter(pl.col("source") == source)
        found = asked.join(members, on="entity_id", maintain_order="left_right")
        return found.select("asked", "entity_id", *_RECORD)

    @property
    def sources(self) -> list[str]:
        """Where records come from."""
        return self.members["source"].unique().sort().to_list()

    def named(self) -> pl.DataFrame:
        """What records may be called: "SOURCE:ID", and their ids where these mean one entity in all sources.

        Returns:
            Columns alias, entity_id, source and record_id.
        """
        whole = self.members.select(pl.format("{}:{}", "source", "record_id").alias("alias"), "entity_id", *_RECORD)
        short = self._of_any_source.filter(~pl.col("several")).select(pl.col("record_id").alias("alias"), "entity_id")
        short = short.join(whole.select("alias"), on="alias", how="anti")
        of = self.members.unique("record_id", keep="first", maintain_order=True).select(
            "source", "record_id", alias="record_id"
        )
        return pl.concat([whole, short.join(of, on="alias", maintain_order="left").select(whole.columns)])

    def retired(self) -> pl.DataFrame:
        """Ids that have been retired, as strings, with what has taken their place. Columns alias and item_id."""
        there = self.redirects.drop_nulls()
        return there.select(alias=pl.col("retired").cast(pl.String), item_id="entity_id")

    @cached_property
    def _of_any_source(self) -> pl.DataFrame:
        """Each record id with its entity, and whether it means several."""
        grouped = self.members.group_by("record_id", maintain_order=True)
        return grouped.agg(pl.col("entity_id").first(), several=pl.col("entity_id").n_unique() > 1)


def as_entity_id(entity_id: Any) -> int:
    """An entity's id as a number; as a string, too, as JSON has it.

    Raises:
        InputError: It is none.
    """
    if isinstance(entity_id, str) and re.fullmatch(r"[0-9]{1,18}", entity_id):
        return int(entity_id)
    if isinstance(entity_id, bool) or not isinstance(entity_id, int | np.integer):
        raise InputError(f"an entity's id is one whole number, such as 17 or '17', got {entity_id!r}")
    return int(entity_id)


def _series(ids: Any, what: str) -> pl.Series:
    """A list of ids, whatever it is.

    Raises:
        InputError: It is none, such as a single id.
    """
    if isinstance(ids, pl.Series):
        return ids
    if isinstance(ids, list | tuple | np.ndarray):
        return pl.Series(ids, strict=False)
    raise InputError(f"{what} are a list or a polars Series, and {ids!r} is a single {type(ids).__name__}: [{ids!r}]")


def _numbers(ids: Any) -> pl.Series:
    """Ids of entities. (n,) Int64"""
    found = _series(ids, "ids of entities")
    if found.dtype != pl.Null and not found.dtype.is_integer():
        raise InputError(f"ids of entities are whole numbers, and these are {found.dtype}, such as {found[0]!r}")
    return found.cast(pl.Int64)
