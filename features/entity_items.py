"""A data set read through an entity map: entities are its items, whichever feed has told of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from features.dataset import Dataset
from features.entity_join import EntityJoin
from features.entity_map import EntityMap
from features.errors import InputError
from features.schema import Vector

#: columns of this module's own, which no table has
_ALIAS, _ENTITY, _SOURCE, _RECORD = "$alias", "$entity_id", "$source", "$record_id"

#: how the values of an entity's records become one: by name, from a column of values without nulls
RULES = {
    "first": lambda column: column.first(),
    "longest": lambda column: column.sort_by(column.str.len_chars(), descending=True, maintain_order=True).first(),
    "frequent": lambda column: column.mode(maintain_order=True).first(),
    "mean": lambda column: column.mean(),
    "min": lambda column: column.min(),
    "max": lambda column: column.max(),
    "union": lambda column: column.explode().drop_nulls().unique(maintain_order=True),
}


def through_entities(
    dataset: Dataset,
    entities: EntityMap,
    fuse: Mapping[str, str] | None = None,
    sources: Sequence[str] = (),
    unknown: Literal["refuse", "drop"] = "refuse",
) -> Dataset:
    """The same data with entities as items.

    Interactions with several records of an entity become interactions with it; the same user's at the same time are one
    interaction. Attributes of its records are fused.

    Args:
        dataset: Whose item ids are records of the map: as they are where they mean one thing in all sources, else
            "SOURCE:ID".
        entities: Which entity each record is.
        fuse: A rule for each attribute: "first", "longest", "frequent", "mean", "min", "max" or "union" (of lists).
            Where none is named, lists of strings become their union, and else the first counts that is told.
        sources: In which order sources count, for "first" and for ties; by name, where not given.
        unknown: What becomes of items that the map lacks: they are refused, or dropped with their interactions, and
            counted.

    Raises:
        InputError: Items that the map lacks, where they are refused or all there is; an attribute or a rule that does
            not exist, or one that does not fit.

    Example:
        >>> from recsys.entities.stable_ids import updated
        >>> log = pl.DataFrame({"user_id": [1, 1, 2], "item_id": ["a1", "b7", "b8"], "timestamp": [5, 5, 6]})
        >>> items = pl.DataFrame({"item_id": ["a1", "b7", "b8"], "title": ["Rose soap", "soap, rose", "Ink"]})
        >>> told = {"source": ["a", "b", "b"], "record_id": ["a1", "b7", "b8"], "cluster": [0, 0, 1]}
        >>> found = through_entities(Dataset.construct("shop", log, items), updated(EntityMap(), pl.DataFrame(told)))
        >>> found.interactions.rows(), found.items.rows()
        ([(1, 1, 5), (2, 2, 6)], [(1, 'Rose soap'), (2, 'Ink')])
    """
    known = entities.named()
    whole, dataset = dataset, _known(dataset, known, unknown)
    items = _mapped(dataset.items, known)
    vectors = {one.column for one in dataset.schema.item if isinstance(one, Vector)}
    rules = _rules(dataset.items.drop("item_id"), fuse or {}, vectors)
    order = list(sources) or entities.sources
    if other := next((one for one in order if one not in entities.sources), None):
        raise InputError(f"the entity map has no source {other!r}; it has {', '.join(entities.sources)}")
    place = pl.col(_SOURCE).replace_strict(order, list(range(len(order))), default=len(order), return_dtype=pl.Int64)
    items = items.sort(place, _SOURCE, _RECORD)
    try:
        fused = items.group_by("item_id", maintain_order=True).agg(
            RULES[rule](pl.col(name).drop_nulls()).alias(name) for name, rule in rules.items()
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(f"the items cannot be fused so: {str(error).splitlines()[0]}") from error
    schema = {name: items.schema[name] for name, rule in rules.items() if rule != "mean"}
    interactions = _mapped(dataset.interactions, known)
    keys = ["user_id", "item_id", "timestamp"]
    # a record's number would be some entity's as well: who asks for one says whose it is
    plain = known.filter(~pl.col("alias").str.contains(r"^-?\d+$"))
    whole_name = pl.col("alias") == pl.format("{}:{}", "source", "record_id")
    aliases = plain.select("alias", pl.when(whole_name).then("source").alias("source"), item_id="entity_id")
    aliases = aliases.select("alias", "item_id", "source")
    interactions = interactions.unique(keys, keep="first", maintain_order=True).select(dataset.interactions.columns)
    return dataclasses.replace(
        dataset,
        interactions=interactions,
        items=fused.with_columns(pl.col(name).cast(dtype) for name, dtype in schema.items()).sort("item_id"),
        aliases=pl.concat([aliases, entities.retired()], how="diagonal").filter(
            pl.col("item_id").is_in(fused["item_id"].to_list())
        ),
        entities=EntityJoin(
            entities.version,
            entities.sha256,
            whole.items.height,
            fused.height,
            whole.interactions.height,
            interactions.height,
            whole.items.height - dataset.items.height,
            whole.interactions.height - dataset.interactions.height,
        ),
    )


def _known(dataset: Dataset, known: pl.DataFrame, unknown: str) -> Dataset:
    """The data without items that the map lacks.

    Raises:
        InputError: They are not to be dropped, or nothing is left.
    """
    there = dataset.items["item_id"].cast(pl.String).is_in(known["alias"].to_list())
    if there.all():
        return dataset
    missing = dataset.items["item_id"].filter(~there)
    told = f"{len(missing):,} items of {dataset.name} are no records of the entity map, such as {str(missing[0])!r}"
    if unknown != "drop":
        raise InputError(f"{told}: resolve them first, or leave them out by data.entities.unknown=drop")
    items = dataset.items.filter(there)
    interactions = dataset.interactions.join(items.select("item_id"), on="item_id", how="semi", maintain_order="left")
    if not interactions.height:
        raise InputError(f"{told}, and no interaction is left without them: this map is of other items")
    return dataclasses.replace(dataset, items=items, interactions=interactions)


def _mapped(table: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """A table with entities for item ids, and the record that each line was of."""
    own = {"alias": _ALIAS, "entity_id": _ENTITY, "source": _SOURCE, "record_id": _RECORD}
    found = table.with_columns(pl.col("item_id").cast(pl.String).alias(_ALIAS)).join(
        known.rename(own), on=_ALIAS, how="left", maintain_order="left"
    )
    return found.with_columns(item_id=_ENTITY)


def _rules(attributes: pl.DataFrame, fuse: Mapping[str, str], vectors: set[str]) -> dict[str, str]:
    """A rule for each attribute."""
    for name, rule in fuse.items():
        if name not in attributes.columns:
            raise InputError(f"a rule is given for {name!r}, and the items have {', '.join(attributes.columns)}")
        if rule not in RULES:
            raise InputError(f"the rule for {name!r} is {rule!r}, not one of {', '.join(RULES)}")
        lists = isinstance(attributes.schema[name], pl.List)
        if (rule == "union" and not lists) or (lists and rule not in ("first", "union")):
            raise InputError(f"the rule for {name!r} is {rule!r}, and it holds {attributes.schema[name]}")
        if rule == "longest" and attributes.schema[name] != pl.String:
            raise InputError(f"the rule for {name!r} is 'longest', and it holds {attributes.schema[name]}")
    sets = {name for name, kind in attributes.schema.items() if kind == pl.List(pl.String)} - vectors
    return {name: fuse.get(name, "union" if name in sets else "first") for name in attributes.columns}
