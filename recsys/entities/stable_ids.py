"""Ids that stay: when clusters change, each new one inherits the id of the old one that it shares most records with.

Matching clusters of two times by their largest overlap is how communities are tracked (Greene, Doyle and Cunningham,
ASONAM 2010). Largest overlaps are served first: a cluster inherits one id at the most, and an id has one heir.
"""

from __future__ import annotations

import polars as pl

from features.entity_map import LOG, MEMBERS, REDIRECTS, EntityMap
from features.errors import InputError

_RECORD = ["source", "record_id"]


def updated(entities: EntityMap, clustered: pl.DataFrame) -> EntityMap:
    """The map after all records have been clustered anew.

    Args:
        entities: The map as it was.
        clustered: Columns source, record_id and cluster (any number): every record that there is now, once. (n rows)

    Returns:
        One version more; the same map, where nothing has changed.

    Raises:
        InputError: A record that is there twice.
    """
    clustered = clustered.select(*(pl.col(one).cast(pl.String) for one in _RECORD), "cluster").sort(_RECORD)
    if clustered.select(_RECORD).is_duplicated().any():
        twice = clustered.filter(clustered.select(_RECORD).is_duplicated()).row(0)
        raise InputError(f"the record {twice[1]!r} of {twice[0]} is there twice")
    shared = clustered.join(entities.members, on=_RECORD).group_by("cluster", "entity_id").len("records")
    heirs = _heirs(shared)
    fresh = clustered.select("cluster").unique(maintain_order=True).join(heirs, on="cluster", how="anti")
    given = fresh.with_columns(entity_id=pl.int_range(fresh.height, dtype=pl.Int64) + entities.next_id)
    ids = pl.concat([heirs.select("cluster", "entity_id"), given])
    members = clustered.join(ids, on="cluster", how="left", maintain_order="left").select(list(MEMBERS))
    if members.equals(entities.members):
        return entities
    version = entities.version + 1
    moved = shared.rename({"entity_id": "old"}).join(ids, on="cluster").filter(pl.col("old") != pl.col("entity_id"))
    retired = _retired(entities, members, moved)
    redirects = pl.concat([_followed(entities.redirects, retired, members), retired]).sort("retired")
    back = _back(entities, members)
    redirects = redirects.update(_with_merged(back, redirects, entities.log), on="retired")
    log = pl.concat([entities.log, _events(version, given["entity_id"], moved, retired, back)])
    departed = pl.concat([entities.departed, entities.members]).join(members, on=_RECORD, how="anti").sort(_RECORD)
    return EntityMap(version, members, redirects, log, entities.next_id + fresh.height, departed)


def _heirs(shared: pl.DataFrame) -> pl.DataFrame:
    """Each inherited id with its heir: the largest overlaps first, of equal ones the oldest id. (k rows)"""
    clusters: set[int] = set()
    ids: set[int] = set()
    kept = []
    ordered = shared.sort(["records", "entity_id", "cluster"], descending=[True, False, False])
    for row, (cluster, entity) in enumerate(ordered.select("cluster", "entity_id").iter_rows()):
        if cluster not in clusters and entity not in ids:
            clusters.add(cluster)
            ids.add(entity)
            kept.append(row)
    return ordered[kept]


def _retired(entities: EntityMap, members: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """Ids that nothing has now, each with the entity that most of its records are in. Columns as of redirects."""
    gone = entities.members.select("entity_id").unique().join(members, on="entity_id", how="anti")
    best = moved.sort(["records", "entity_id"], descending=[True, False]).unique("old", keep="first")
    found = gone.rename({"entity_id": "retired"}).join(best, left_on="retired", right_on="old", how="left")
    return found.select(list(REDIRECTS)).sort("retired")


def _followed(redirects: pl.DataFrame, retired: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Earlier redirects, one step further where what they named has been retired itself."""
    further = retired.rename({"retired": "entity_id", "entity_id": "now"})
    at = redirects.join(further.with_columns(gone=True), on="entity_id", how="left", maintain_order="left")
    return at.select("retired", entity_id=pl.when(pl.col("gone")).then("now").otherwise("entity_id"))


def _back(entities: EntityMap, members: pl.DataFrame) -> pl.DataFrame:
    """Ids that were gone with their records, and the entity that most of those are in which have come back.

    Returns:
        Columns retired, entity_id, records.
    """
    gone = entities.redirects.filter(pl.col("entity_id").is_null()).select(old="retired")
    here = entities.departed.rename({"entity_id": "old"}).join(gone, on="old").join(members, on=_RECORD)
    shared = here.group_by("old", "entity_id").len("records").with_columns(pl.col("records").cast(pl.Int64))
    best = shared.sort(["records", "entity_id"], descending=[True, False]).unique("old", keep="first")
    return best.select("entity_id", "records", retired="old").sort("retired")


def _with_merged(back: pl.DataFrame, redirects: pl.DataFrame, log: pl.DataFrame) -> pl.DataFrame:
    """With ids that had led to those, and were gone with them. Columns as of redirects."""
    led = log.filter(pl.col("event").is_in(["merge", "back"]))
    led = led.sort(["version", "records", "entity_id"], descending=[True, True, False])
    merges = led.unique("other_id", keep="first").select(into="entity_id", retired="other_id")
    gone = redirects.filter(pl.col("entity_id").is_null()).select("retired")
    found, last = back.select(list(REDIRECTS)), back.select(list(REDIRECTS))
    while last.height:
        last = merges.join(last, left_on="into", right_on="retired").join(gone, on="retired", how="semi")
        last = last.select(list(REDIRECTS)).join(found, on="retired", how="anti")
        found = pl.concat([found, last])
    return found


def _events(
    version: int, given: pl.Series, moved: pl.DataFrame, retired: pl.DataFrame, back: pl.DataFrame
) -> pl.DataFrame:
    """What has happened, as lines of the log."""
    is_retired = pl.col("old").is_in(retired["retired"].to_list())
    merged = moved.filter(is_retired)
    split = moved.filter(~is_retired)
    gone = retired.filter(pl.col("entity_id").is_null())["retired"]
    nothing = pl.lit(None, dtype=pl.Int64)
    lines = [
        pl.DataFrame({"entity_id": given}).select(
            event=pl.lit("new"), entity_id="entity_id", other_id=nothing, records=nothing
        ),
        merged.select(event=pl.lit("merge"), entity_id="entity_id", other_id="old", records="records"),
        split.select(event=pl.lit("split"), entity_id="old", other_id="entity_id", records="records"),
        pl.DataFrame({"entity_id": gone}).select(
            event=pl.lit("gone"), entity_id="entity_id", other_id=nothing, records=nothing
        ),
        back.select(event=pl.lit("back"), entity_id="entity_id", other_id="retired", records="records"),
    ]
    told = pl.concat([one.cast({name: LOG[name] for name in one.columns}) for one in lines])
    return told.select(pl.lit(version, pl.Int64).alias("version"), pl.all()).sort("event", "entity_id", "other_id")
