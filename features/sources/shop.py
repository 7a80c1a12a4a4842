"""The tables of the generated shop: items with titles, categories, brands, tags, prices; users with attributes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import polars as pl
import yaml

from features.schema import Categorical, FeatureSchema, Id, MultiValued, Numeric, Sequence, Text

SCHEMA = FeatureSchema(
    user=(
        Categorical("age_group"),
        Categorical("region"),
        Categorical("household"),
        Sequence("history"),
    ),
    item=(
        Id("item_id"),
        Categorical("category"),
        Categorical("brand"),
        MultiValued("tags"),
        Numeric("price"),
        Text("title"),
    ),
)


@cache
def words() -> dict[str, Any]:
    """The word lists of `shop.yaml`."""
    text = resources.files("features.sources").joinpath("shop.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@dataclass(frozen=True)
class Shelves:
    """Where each item of the shop stands.

    Args:
        topic: The department. (N,)
        style: Plain, fine, natural or modern. (N,)
        frame: item_id, title, category, brand, tags, price; in the order of item_id. (N rows)
    """

    topic: np.ndarray
    style: np.ndarray
    frame: pl.DataFrame


def stock(n: int, topics: int, ids: pl.Series, random: np.random.Generator) -> Shelves:
    """Makes n items, no two of which have the same title.

    Args:
        n: How many.
        topics: In how many of the departments.
        ids: item_id, sorted. (n,)
        random: Where chance comes from.
    """
    text = words()
    styles = list(text["styles"].values())
    departments = [text["departments"][name] for name in _departments()[:topics]]
    topic = random.permutation(np.arange(n) % topics)
    # a title's number within its department is a mixed-radix numeral: style, its word, line, product, material, detail
    shape = (len(styles), 4, 2, 7, 5, 5)
    combinations = int(np.prod(shape))
    number, series = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for one in range(topics):
        members = np.flatnonzero(topic == one)
        rounds = -(-len(members) // combinations)
        drawn = np.concatenate([random.permutation(combinations) for _ in range(rounds)])[: len(members)]
        number[members], series[members] = drawn, np.arange(len(members)) // combinations + 1
    style, word, line, product, material, detail = np.unravel_index(number, shape)
    lines = [one for department in departments for one in department["lines"]]
    line += 2 * topic
    style_word = _pick([[*one["words"]] for one in styles], style, word)
    material_word = _pick([one["materials"] for one in lines], line, material)
    title = [
        *(style_word, pl.lit(" "), material_word, pl.lit(" ")),
        *(_pick([one["products"] for one in lines], line, product), pl.lit(", ")),
        _pick([one["details"] for one in lines], line, detail),
        pl.when(pl.Series(series) > 1).then(pl.format(", no. {}", pl.Series(series))).otherwise(pl.lit("")),
    ]
    names = [f"{first} {second}" for second in text["brands"]["second"] for first in text["brands"]["first"]]
    a_style = len(names) // len(styles)  # a brand keeps to one style: it says what a short history does not
    brand = style * a_style + (topic * 7 + random.integers(0, 4, n)) % a_style
    base = np.array([one["price"] for one in departments], dtype=np.float64)[topic]
    price = base * np.array([one["price"] for one in styles])[style] * random.lognormal(0.0, 0.35, n)
    frame = pl.select(
        ids.alias("item_id"),
        pl.concat_str(title).alias("title"),
        pl.Series(_departments()[:topics]).gather(topic).alias("category"),
        pl.Series(names).gather(brand).alias("brand"),
        pl.concat_str(style_word.str.to_lowercase(), pl.lit("|"), material_word).alias("tags"),
        pl.Series(np.floor(price) + 0.95).alias("price"),
    )
    return Shelves(topic, style.astype(np.int64), frame)


@dataclass(frozen=True)
class Customers:
    """Who shops.

    Args:
        leaning: How much each user leans to each department, from its attributes alone. (U, topics)
        frame: user_id, age_group, region, household. (U rows)
    """

    leaning: np.ndarray
    frame: pl.DataFrame


def customers(n: int, topics: int, ids: pl.Series, random: np.random.Generator) -> Customers:
    """Makes n users, whose age and household say a little about what they like; the region says nothing."""
    text = words()
    leaning = np.zeros((n, topics))
    columns = [ids.alias("user_id")]
    for column, key, strength in (
        ("age_group", "age_groups", 0.8),
        ("region", "regions", 0.0),
        ("household", "households", 0.8),
    ):
        values = text[key]
        drawn = random.integers(0, len(values), n)
        leaning += strength * random.normal(size=(len(values), topics))[drawn]
        columns.append(pl.Series(column, values).gather(drawn))
    return Customers(leaning, pl.DataFrame(columns))


def _departments() -> list[str]:
    return list(words()["departments"])


def _pick(lists: list[list[str]], which: np.ndarray, at: np.ndarray) -> pl.Series:
    """`lists[which][at]` of each row; the lists are of equal length."""
    flat = pl.Series([word for one in lists for word in one], dtype=pl.String)
    return flat.gather(which * len(lists[0]) + at)
