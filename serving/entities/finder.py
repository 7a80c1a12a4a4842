"""Which entity a record is that nobody has resolved yet: its nearest records are judged, and the likeliest answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.entity_map import as_entity_id
from features.entity_store import read_entities
from features.errors import InputError
from features.record_pairs import RecordPairs
from features.records import Records
from features.resolved_entities import ResolvedEntities
from recsys.blocking.nearest import TermIndex
from recsys.blocking.terms import TermsConfig, TermSpace, texts_of
from recsys.matching.calibration import probabilities
from recsys.matching.self_training import SelfTrained
from recsys.matching.similarities import Comparison
from recsys.text_encoders import TextEncoderConfig
from serving.entities.judges import Judge, MatcherJudge, SelfTrainedJudge
from serving.matching.matcher import Matcher

#: records that are judged for each that is asked about
_NEAREST = 10


@dataclass(frozen=True)
class FoundRecord:
    """A record that is likely the same as the one that was asked about.

    Args:
        entity_id: Its entity.
        source: Where it comes from.
        record_id: Its id there.
        log_odds: That both are the same thing, less the threshold, whatever other records are found: at least 0 is
            called the same.
        values: What is told of it.
    """

    entity_id: int
    source: str
    record_id: str
    log_odds: float
    values: dict[str, str]


@dataclass(frozen=True)
class Found:
    """What was found for a record.

    Args:
        entity_id: The entity that it is, that of the likeliest record; None where it is none that is known.
        records: The likeliest first.
    """

    entity_id: int | None
    records: tuple[FoundRecord, ...]


class EntityFinder:
    """Finds the entities of records; read-only, so that any number of threads may share it.

    Args:
        resolved: Entities, and what they follow from.
        judge: What says of pairs how likely they are the same.
        folder: Where they were read.

    Example:
        >>> from serving.entities.finder import EntityFinder
        >>> finder = EntityFinder.load("entities")                                        # doctest: +SKIP
        >>> finder.find([{"title": "soap, rose (100g)"}])[0].entity_id                    # doctest: +SKIP
        17
    """

    def __init__(self, resolved: ResolvedEntities, judge: Judge, folder: Path | None = None) -> None:
        if not resolved.records.height:
            raise InputError("there is no record to find anything among")
        self.entities, self.folder, self._judge = resolved.entities, folder, judge
        self._members = resolved.entities.members
        self._table = _table(resolved)
        values = self._table.values
        texts = texts_of(values)
        self._space = TermSpace(TermsConfig(), texts)
        self._index = TermIndex(self._space.vectors(texts))
        _ = self._by_entity, self.identity  # made now, and not while somebody waits

    @classmethod
    def load(
        cls, folder: Path | str, matcher: str | Path | Matcher | None = None, tracking_uri: str | None = None
    ) -> EntityFinder:
        """Reads entities.

        Args:
            folder: That `recsys resolve` has written.
            matcher: The one that they were resolved with, or where it is; none where the data spoke by themselves.
            tracking_uri: Where models are registered.

        Raises:
            InputError: Nothing is there, or another matcher is given than they were resolved with.
        """
        folder = Path(folder)
        resolved = read_entities(folder)
        return cls(resolved, _judge(resolved, folder, matcher, tracking_uri), folder)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"EntityFinder({self.entities!r})"

    def current(self, entity_id: int | str) -> int | None:
        """What has become of an entity's id: itself, or what has taken its place; None where nothing has.

        Args:
            entity_id: Given at any time; as a string, too, as JSON has it.

        Raises:
            InputError: No whole number.
        """
        wanted, (_, ids) = as_entity_id(entity_id), self._by_entity
        if (at := int(np.searchsorted(ids, wanted))) < len(ids) and ids[at] == wanted:
            return wanted
        found = self.entities.redirects.filter(pl.col("retired") == wanted)["entity_id"]
        return found[0] if len(found) else None

    def records_of(self, entity_id: int | str, source: str | None = None) -> pl.DataFrame:
        """The records of an entity: what the feeds call it.

        Args:
            entity_id: That is there now: see `current`.
            source: Of this feed alone.

        Returns:
            Columns source and record_id; no row, where there is no such entity.

        Raises:
            InputError: No whole number, or a source that the map does not know.
        """
        order, ids = self._by_entity
        if source is not None and source not in self.entities.sources:
            raise InputError(f"the map has no source {source!r}; it has {', '.join(self.entities.sources)}")
        wanted = as_entity_id(entity_id)
        first, last = np.searchsorted(ids, [wanted, wanted + 1])
        found = self._members[order[first:last]].select("source", "record_id")
        return found if source is None else found.filter(pl.col("source") == source)

    @cached_property
    def _by_entity(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the members in the order of their entities, and these. (n,), (n,)"""
        ids = self._members["entity_id"].to_numpy()
        order = np.argsort(ids, kind="stable")
        return order, ids[order]

    @property
    def attributes(self) -> list[str]:
        """What is told of a record."""
        return self._table.attributes

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The version of the map, and its hash."""
        return {"version": self.entities.version, "sha256": self.entities.sha256}

    def find(self, records: Sequence[Mapping[str, Any]] | Mapping[str, Any], n: int = 5) -> list[Found]:
        """The entities of records.

        Args:
            records: What is said of each, by attribute; what is not said is missing. A mapping alone is one record.
                (m,)
            n: Records that are named for each, at the most.

        Raises:
            InputError: Something is said that no record has, or that cannot be told.
        """
        records = [records] if isinstance(records, Mapping) else records
        asked = Records.told("the records", records, self.attributes)
        near = self._index.nearest(self._space.vectors(texts_of(asked.values)), _NEAREST)
        row, place = np.nonzero(near.rows >= 0)
        known = near.rows[row, place]
        # a row of its own for each, so that two that are asked about do not compete for one that is known
        pairs = RecordPairs(asked, self._table.take(known), row, np.arange(len(known)))
        log_odds = self._judge.judge(pairs).log_odds if len(pairs) else np.zeros(0)
        return [self._found(known, log_odds, np.flatnonzero(row == one), n) for one in range(len(asked))]

    def _found(self, known: np.ndarray, log_odds: np.ndarray, places: np.ndarray, n: int) -> Found:
        best = places[np.argsort(-log_odds[places], kind="stable")]
        records = []
        for place in best[:n]:
            at = int(known[place])
            source, record_id, entity_id = self._members.row(at)
            values = {name: one for name, one in self._table.values.row(at, named=True).items() if one}
            records.append(FoundRecord(entity_id, source, record_id, float(log_odds[place]), values))
        same = [one for one in records if one.log_odds >= 0]
        return Found(same[0].entity_id if same else None, tuple(records))


def chance(log_odds: float) -> float:
    """0.5 at the threshold: what is said of a pair, in [0, 1]."""
    return float(probabilities(np.array([log_odds]))[0])


def _table(resolved: ResolvedEntities) -> Records:
    """The known records; ids are rows."""
    values = resolved.records.select(resolved.attributes)
    return Records("the entities", pl.Series("id", np.arange(values.height)), values)


def _judge(resolved: ResolvedEntities, folder: Path, matcher: Any, tracking_uri: str | None) -> Judge:
    """What the entities were resolved by."""
    by = resolved.settings.get("judge", {})
    if by.get("kind") == "self-trained":
        if matcher is not None:
            raise InputError(f"{folder} was resolved without a matcher; leave it out")
        if by.get("learned") is None:
            raise InputError(f"{folder} was resolved from too few records to judge another one by")
        learned = SelfTrained.from_json(by["learned"])
        encode = None
        if "vectors" in learned.names:
            from serving.entities.vectors import RecordEncoder

            encode = RecordEncoder(TextEncoderConfig(**resolved.settings["config"]["encoder"]))
        comparison = Comparison(_table(resolved), encode=encode)
        comparison.warm()
        # a second record of one entity is as likely the same as it looks, whichever is the nearest
        return SelfTrainedJudge(comparison, learned, each_alone=True)
    known = by.get("matcher", {})
    if matcher is None:
        raise InputError(
            f"{folder} was resolved with the matcher {known.get('name')}, build {known.get('build_id')}: name it"
        )
    loaded = matcher if isinstance(matcher, Matcher) else Matcher.load(matcher, tracking_uri)
    if loaded.manifest.build_id != known.get("build_id"):
        raise InputError(
            f"{folder} was resolved with the build {known.get('build_id')} of {known.get('name')}, and {matcher} is "
            f"{loaded.manifest.build_id}: resolve it with this one, or name the other"
        )
    return MatcherJudge(loaded, threshold=by["threshold"])
