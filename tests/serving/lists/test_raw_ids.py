"""Ids of requests: exact at any size, the right type or an error that names the place."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import serving.lists.raw_ids
from features.vocabulary import Vocabulary
from serving.lists.raw_ids import FieldError, RawIds

INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(params=["dictionary", "vocabulary"])
def way(request, monkeypatch):
    if request.param == "vocabulary":
        monkeypatch.setattr(serving.lists.raw_ids, "_SMALL", -1)


@given(known=st.lists(INT64, min_size=1, unique=True), asked=st.lists(st.one_of(INT64, st.integers())))
def test_integers_and_their_strings_are_the_same_id(known, asked):
    ids = RawIds(Vocabulary.fit("item_id", pl.Series(known, dtype=pl.Int64)))
    expected = [sorted(known).index(one) if one in known else -1 for one in [*known, *asked]]
    assert ids.rows([*known, *asked], "histories").tolist() == expected
    assert ids.rows([str(one) for one in [*known, *asked]], "histories").tolist() == expected
    assert ids.strings(np.arange(len(known))) == [str(one) for one in sorted(known)]


@given(known=st.lists(st.text(), min_size=1, unique=True), asked=st.lists(st.text()))
def test_strings_are_compared_as_they_are(known, asked):
    ids = RawIds(Vocabulary.fit("user_id", pl.Series(known)))
    back = ids.vocabulary.ids.to_list()
    rows = ids.rows([*known, *asked, None], "user_ids")
    assert [back[row] if row >= 0 else None for row in rows] == [
        *known, *(one if one in known else None for one in asked), None,
    ]  # fmt: skip


@pytest.mark.parametrize("written", ["017", "+17", " 17", "17 ", "1_7", "17.0", "1e1", "-0", "", "٣", "9" * 5000])
def test_another_way_to_write_a_number_is_nobodys_id(written, way):
    ids = RawIds(Vocabulary.fit("item_id", pl.Series([17, 0, 3])))
    assert ids.rows([written], "histories").tolist() == [-1]


def test_neighbours_beyond_float_precision_stay_apart(way):
    close = [2**53, 2**53 + 1, 2**63 - 1, 2**63 - 2, -(2**63)]
    ids = RawIds(Vocabulary.fit("item_id", pl.Series(close)))
    assert len(set(ids.rows(close, "x").tolist())) == 5
    assert sorted(ids.ids(ids.rows([str(one) for one in close], "x"))) == sorted(close)
    assert ids.rows([2**63, -(2**63) - 1, str(2**63), 10**400], "x").tolist() == [-1] * 4


@pytest.mark.parametrize("wrong", [True, 1.0, float("nan"), b"17", [17], {}])
def test_what_is_no_id_is_named(wrong, way):
    for known in (pl.Series([17]), pl.Series(["a"])):
        with pytest.raises(FieldError, match=r"histories\[4\]\[1\] is a ") as caught:
            RawIds(Vocabulary.fit("item_id", known)).rows([None, wrong], "histories", 4)
        assert caught.value.field == ("histories", 4, 1)


def test_integers_asked_of_strings_are_an_error(way):
    ids = RawIds(Vocabulary.fit("user_id", pl.Series(["u1"])))
    with pytest.raises(FieldError, match=r"user_ids\[0\] is the integer 17; the ids 'user_id' are strings"):
        ids.rows([17], "user_ids")
    with pytest.raises(FieldError, match=r"user_ids\[1\]"):
        ids.rows(np.array(["u1", 3], dtype=object), "user_ids")


def test_columns_and_arrays_are_taken(way):
    ids = RawIds(Vocabulary.fit("user_id", pl.Series([5, 6])))
    assert ids.rows(np.array([6, 7], dtype=np.uint8), "u").tolist() == [1, -1]
    assert ids.rows(pl.Series([6, None]), "u").tolist() == [1, -1]
    assert ids.rows([np.int32(5), np.str_("6")], "u").tolist() == [0, 1]


def test_half_a_surrogate_pair_is_no_crash(way):
    ids = RawIds(Vocabulary.fit("user_id", pl.Series(["u1"])))
    try:
        assert ids.rows(["\ud800"], "user_ids").tolist() == [-1]
    except FieldError as error:
        assert "user_ids" in str(error)
