"""Searching items by what they are called, against going through them one by one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.vocabulary import Vocabulary
from recsys.index import ItemIndex
from serving.lists.item_search import items_with
from serving.lists.raw_ids import RawIds
from serving.lists.shelf import Placed, Shelf

SIGNS = st.sampled_from("aAbBéÉ .*[(\\^$|+?{)-1")


def shelf_of(ids: pl.Series, titles: list[str | None] | None) -> Shelf:
    vocabulary = Vocabulary.fit("item_id", ids)
    index = ItemIndex.build(np.ones((len(ids), 2), np.float32))
    return Shelf(index, RawIds(vocabulary), 2, None if titles is None else pl.Series("title", titles, dtype=pl.String))


def expected(text: str, shelf: Shelf, counts: np.ndarray, n: int) -> list[int]:
    text, found = text.lower(), []
    for row in range(len(shelf)):
        names = [str(shelf.ids_of(np.array([row]))[0])] + ([] if shelf.titles is None else [shelf.titles[row] or ""])
        names = [one.lower() for one in names]
        if any(text in one for one in names):
            exact, begins = text in names, any(one.startswith(text) for one in names)
            found.append((not exact, not begins, -(counts[row] if row < len(counts) else 0), row))
    return [row for *_, row in sorted(found)[:n]]


@given(
    text=st.text(SIGNS, min_size=1, max_size=4),
    titles=st.lists(st.none() | st.text(SIGNS, max_size=8), min_size=1, max_size=12),
    n=st.integers(1, 6),
    seed=st.integers(0, 9),
)
def test_it_finds_what_going_through_all_of_them_finds(text, titles, n, seed):
    shelf = shelf_of(pl.Series([f"a{row}" for row in range(len(titles))]), titles)
    counts = np.random.default_rng(seed).integers(0, 3, len(titles))
    found = items_with(text, shelf, counts, n)
    assert found.tolist() == expected(text, shelf, counts, n)


@pytest.mark.parametrize("text", ["1", "-5", "17", "2147483648", "9" * 19, "x", "1.", "017", " 1"])
def test_integer_ids_are_found_by_their_digits(text):
    ids = pl.Series([17, 1, 2147483648, -5, 170, 2**63 - 1, 3])
    for titles in (None, ["one 1", "x", "y 17", None, "z", "", "x 1. 017"]):
        shelf, counts = shelf_of(ids, titles), np.arange(7)
        assert items_with(text, shelf, counts, 9).tolist() == expected(text, shelf, counts, 9)


def test_new_items_are_found_after_those_that_training_saw():
    shelf = shelf_of(pl.Series(["a", "b"]), ["red soap", "tea"])
    shelf = shelf.with_new(
        {"soap": Placed(np.ones(2, np.float32), "blue"), "c": Placed(np.ones(2, np.float32), "A Soap")}
    )
    found = items_with("SOAP", shelf, np.array([5, 6]), 9)
    assert shelf.ids_of(found) == ["soap", "a", "c"]
    assert found.tolist() == expected("soap", shelf, np.array([5, 6]), 9)
