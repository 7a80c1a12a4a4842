"""Sensible feature declarations for tables that came without any."""

from __future__ import annotations

import polars as pl

from features.schema import Categorical, Feature, FeatureSchema, Id, MultiValued, Numeric, Sequence, Text

#: A string column with more values than this, or with one for more than half of its rows, is text, not a category.
MOST_CATEGORIES = 10_000


def infer_schema(items: pl.DataFrame | None, users: pl.DataFrame | None) -> FeatureSchema:
    """Declares every column that models can use.

    Items have their ids, and users their histories (not their ids: a vector for each user is for those who declare it).
    Numbers are numeric; booleans are categorical; lists, and strings that look like "a|b|c", are multi-valued; `title`
    is text; other strings are categorical if they repeat, and text if not. Dates, lists of
    fractions (vectors are for those who declare them) and anything nested deeper are passed over. A name that both
    tables have is prefixed with `user_` or `item_`.

    Args:
        items: The items' columns, item_id among them.
        users: The users' columns, user_id among them.

    Example:
        >>> items = pl.DataFrame({"item_id": [1, 2], "title": ["Tea", "Ink"], "tags": ["hot|wet", "wet"]})
        >>> [f"{one.name}: {one.kind}" for one in infer_schema(items, None).item]
        ['item_id: id', 'title: text', 'tags: multi_valued']
    """
    columns = {
        "user": [] if users is None else [one for one in users.columns if one != "user_id"],
        "item": [] if items is None else [one for one in items.columns if one != "item_id"],
    }
    taken = {"user_id", "item_id", "history"} | (set(columns["user"]) & set(columns["item"]))

    def declared(side: str, frame: pl.DataFrame | None) -> tuple[Feature, ...]:
        if frame is None:
            return ()
        found = []
        for column in columns[side]:
            kind = _kind(frame[column])
            if kind is not None:
                found.append(kind(f"{side}_{column}" if column in taken else column, column))
        return tuple(found)

    return FeatureSchema(
        user=(*declared("user", users), Sequence("history")),
        item=(Id("item_id"), *declared("item", items)),
    )


def _kind(values: pl.Series) -> type[Feature] | None:
    dtype = values.dtype
    if values.null_count() == len(values):
        return None
    if dtype.is_numeric():
        return Numeric
    if dtype == pl.Boolean or isinstance(dtype, pl.Categorical | pl.Enum):
        return Categorical
    if isinstance(dtype, pl.List | pl.Array):
        return MultiValued if dtype.inner == pl.String or dtype.inner.is_integer() else None
    if dtype != pl.String:
        return None
    if values.name == "title":
        return Text
    if values.str.contains("|", literal=True).any():
        return MultiValued
    distinct = values.drop_nulls().n_unique()
    return Categorical if distinct <= min(MOST_CATEGORIES, (len(values) - values.null_count()) / 2) else Text
