"""What items have, as requests ask for it: against a look at each item."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.schema import Categorical, Id, MultiValued, Numeric, Text
from serving.lists.item_columns import ItemColumns
from serving.lists.raw_ids import FieldError

FEATURES = (
    Id("item_id"),
    Categorical("maker"),
    Categorical("shelf"),
    Categorical("fresh"),
    MultiValued("genres"),
    MultiValued("sizes"),
    Numeric("price"),
    Numeric("boxed"),
    Numeric("absent"),
    Text("title"),
)
TYPES = {
    "maker": pl.String,
    "shelf": pl.Int16,
    "fresh": pl.Boolean,
    "genres": pl.String,
    "sizes": pl.List(pl.Int32),
    "price": pl.Float32,
    "boxed": pl.Boolean,
}
ITEM = st.fixed_dictionaries(
    {
        "maker": st.sampled_from([None, "", "Ada", "Bo", "Cy|d"]),
        "shelf": st.sampled_from([None, -1, 0, 3]),
        "fresh": st.sampled_from([None, True, False]),
        "genres": st.sampled_from([None, "", "a", "a|b", " b | c|", "b|b"]),
        "sizes": st.sampled_from([None, [], [1], [1, None, 2], [7]]),
        "price": st.sampled_from([None, math.nan, -1.5, 0.0, 2.0, 9.5]),
        "boxed": st.sampled_from([None, True, False]),
    }
)


def any_of(*values):
    return st.sampled_from(values) | st.lists(st.sampled_from(values), max_size=3)


NUMBER = st.sampled_from([None, -2, -1.5, 0, 2, 9.5, 10**400, -math.inf, np.float32(2)])
WHERE = st.fixed_dictionaries(
    {},
    optional={
        "maker": any_of("Ada", "Bo", "Cy|d", "", "nobody", "\ud800"),
        "shelf": any_of(-1, 0, 3, 10**30, np.int64(3)),
        "fresh": any_of(True, False),
        "genres": any_of("a", "b", "c", "a|b", "z"),
        "sizes": any_of(1, 2, 7, 9),
        "price": st.fixed_dictionaries({}, optional={"min": NUMBER, "max": NUMBER}),
        "boxed": any_of(True, False),
        "absent": st.just({"min": 0}),
    },
)


def has(item, where):
    """One item, by its own values."""
    held = {name: [] if item[name] in (None, "") else [item[name]] for name in ("maker", "shelf", "fresh", "boxed")}
    held["genres"] = [one.strip() for one in (item["genres"] or "").split("|") if one.strip()]
    held["sizes"] = item["sizes"] or []
    for name, wanted in where.items():
        if isinstance(wanted, dict):
            number = item.get(name)
            low, high = (-math.inf if wanted.get("min") is None else wanted["min"]), wanted.get("max")
            if number is None or not low <= number <= (math.inf if high is None else high):
                return False
        elif not set(wanted if isinstance(wanted, list) else [wanted]) & set(held[name]):
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(items=st.lists(ITEM, max_size=12), others=st.lists(ITEM, max_size=4), where=WHERE)
def test_items_that_have_what_is_asked_for_are_marked(items, others, where):
    table = pl.DataFrame({name: pl.Series(name, [one[name] for one in items], dtype=TYPES[name]) for name in TYPES})
    columns = ItemColumns(FEATURES, table)
    assert columns.marks(where).tolist() == [has(one, where) for one in items]
    assert columns.of_others(others).marks(where).tolist() == [has(one, where) for one in others]


def test_columns_say_what_they_hold():
    table = pl.DataFrame(schema=TYPES)
    assert ItemColumns(FEATURES, table).kinds == {
        "absent": "numbers",
        "boxed": "booleans",
        "fresh": "booleans",
        "genres": "strings",
        "maker": "strings",
        "price": "numbers",
        "shelf": "integers",
        "sizes": "integers",
    }


@pytest.mark.parametrize(
    ("where", "words", "field"),
    [
        (["maker"], "where is a list, not columns and values", ("where",)),
        ({"colour": "red"}, "where has 'colour'; the columns that items have are: absent, boxed, fresh,", ("where",)),
        ({"title": "Tea"}, "where has 'title'; the columns", ("where",)),
        ({"maker": 3}, "where.maker has the integer 3, and the column holds strings", ("where", "maker")),
        ({"maker": None}, "where.maker has the NoneType None", ("where", "maker")),
        ({"maker": ["Ada", 1.5]}, "where.maker has the number 1.5", ("where", "maker")),
        ({"maker": {"min": 3}}, "where.maker is a range, and the column holds strings", ("where", "maker")),
        ({"shelf": "3"}, "where.shelf has the string '3', and the column holds integers", ("where", "shelf")),
        ({"shelf": True}, "where.shelf has the boolean True", ("where", "shelf")),
        ({"fresh": 1}, "where.fresh has the integer 1, and the column holds booleans", ("where", "fresh")),
        ({"genres": {"a"}}, "where.genres is a set, not a list", ("where", "genres")),
        ({"price": 3}, "where.price is 3, and of numbers it is a range", ("where", "price")),
        ({"price": {"from": 3}}, "where.price is {'from': 3}, and", ("where", "price")),
        ({"price": {"min": "3"}}, "where.price.min is '3', not a number", ("where", "price", "min")),
        ({"price": {"max": math.nan}}, "where.price.max is nan, not a number", ("where", "price", "max")),
        ({"price": {"max": True}}, "where.price.max is True, not a number", ("where", "price", "max")),
    ],
)
def test_what_cannot_be_asked_for_is_named(where, words, field):
    table = pl.DataFrame({name: pl.Series(name, [None], dtype=dtype) for name, dtype in TYPES.items()})
    with pytest.raises(FieldError) as caught:
        ItemColumns(FEATURES, table).marks(where)
    assert words in str(caught.value) and caught.value.field == field
