"""Tables of records: what is read of them as it stands, and what cannot be read told in one sentence."""

import datetime
import re

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from features.records import MOST_CHARACTERS, Records

TABLE = pl.DataFrame(
    {
        "id": [10, 7, 8],
        "name": ["Rose &amp; Co", None, "a\x00b\n c"],
        "price": [3.0, 2.5, None],
        "since": [datetime.date(2020, 1, 2), None, None],
        "tags": [["x", "y"], [], None],
    }
)


def test_all_columns_are_told_in_their_order_and_as_people_write_them() -> None:
    records = Records.of("shop", TABLE)
    assert records.attributes == ["name", "price", "since", "tags"]
    assert records.values.rows() == [
        ("Rose & Co", "3", "2020-01-02", "x, y"),
        ("", "2.5", "", ""),
        ("a b c", "", "", ""),
    ]
    assert records.ids.to_list() == [10, 7, 8] and len(records) == 3 and records.shortened == 0
    assert repr(records) == "Records('shop': 3 records of name, price, since, tags)"


def test_columns_are_mapped_to_attributes_in_the_declared_order() -> None:
    records = Records.of("shop", TABLE, attributes={"cost": "price", "title": "name"})
    assert records.attributes == ["cost", "title"] and records.values.row(0) == ("3", "Rose & Co")
    assert Records.of("shop", TABLE.rename({"id": "sku"}), "sku", ["price", "name"]).attributes == ["price", "name"]


def test_rows_of_ids_are_found_whatever_integer_or_text_they_come_as() -> None:
    records = Records.of("shop", TABLE)
    assert records.rows(pl.Series([8, 11, 10])).tolist() == [2, -1, 0]
    assert records.rows(pl.Series(["8", "x", None])).tolist() == [2, -1, -1]
    words = Records.of("shop", TABLE.with_columns(id=pl.Series(["a", "b", "ä"])))
    assert words.rows(pl.Series(["ä", "A", "a"])).tolist() == [2, -1, 0]


def test_a_cell_of_a_megabyte_is_shortened_and_counted() -> None:
    long = TABLE.with_columns(name=pl.Series(["x" * 1_000_000, "é" * (MOST_CHARACTERS + 1), "short"]))
    records = Records.of("shop", long)
    assert records.values["name"].str.len_chars().to_list() == [MOST_CHARACTERS, MOST_CHARACTERS, 5]
    assert records.shortened == 2


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        (TABLE.drop("id"), {}, "shop has no column 'id'; its columns are name, price"),
        (TABLE, {"attributes": ["name", "colour"]}, "shop has no column 'colour'"),
        (TABLE, {"attributes": {"title": "titel"}}, "shop has no column 'titel'"),
        (TABLE, {"attributes": []}, "shop says nothing of its records"),
        (TABLE.select("id"), {}, "shop says nothing of its records"),
        (TABLE.clear(), {}, "shop has no record"),
        (TABLE.with_columns(id=pl.Series([1, None, None])), {}, "shop has 2 records without an id, such as row 2"),
        (TABLE.with_columns(id=pl.Series([1, 2, 1])), {}, "shop has 1 ids that occur more than once, such as 1"),
        (TABLE.with_columns(id=pl.Series([1.5, 2.0, 3.0])), {}, "column 'id' holds Float64 ids"),
        (TABLE.with_columns(name=pl.Series([b"a", b"b", b"c"])), {}, "column 'name' of shop holds Binary"),
    ],
)
def test_what_is_no_table_of_records_is_told(table: pl.DataFrame, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Records.of("shop", table, **settings)


def test_many_records_have_the_rows_that_a_dictionary_gives() -> None:
    random = np.random.default_rng(0)
    ids = random.permutation(5000)[:3000]
    records = Records.of("many", pl.DataFrame({"id": ids, "name": ["x"] * len(ids)}))
    asked = random.integers(0, 5000, 1000)
    rows = {one: row for row, one in enumerate(ids.tolist())}
    assert records.rows(pl.Series(asked)).tolist() == [rows.get(one, -1) for one in asked.tolist()]


def test_records_that_are_given_one_by_one_need_not_agree_on_types() -> None:
    given = [{"price": 3, "name": "a"}, {"price": "3.50"}, {"price": None, "name": ["x", "y"]}, {"price": True}]
    given += [{"name": [1, 2.5, None, "a"], "price": []}]
    records = Records.told("left", given, ["name", "price"])
    assert records.values.rows() == [("a", "3"), ("", "3.50"), ("x, y", ""), ("", "true"), ("1, 2.5, a", "")]
    assert records.ids.to_list() == [0, 1, 2, 3, 4] and records.shortened == 0
    assert Records.told("left", [{"name": "x" * 50_000}], ["name"]).shortened == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "left has no record"),
        ([{"name": "a"}, {"colour": "red"}], "record 2 of left has 'colour', and what may be told of a record is name"),
        ([{"name": {"a": 1}}], "'name' of left holds Struct"),
        ([{"name": object()}], "'name' of left holds Object"),
        ([{"name": [["a"], "b"]}], "'name' of left .*cannot be told"),
        ([{"name": "half a \ud83d"}], "'name' of left .*cannot be told"),
    ],
)
def test_what_cannot_be_told_of_given_records_is_said(given: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Records.told("left", given, ["name"])


def test_an_attribute_without_a_column_is_told_of_no_record() -> None:
    table = pl.DataFrame({"id": [1, 2], "name": ["tea", None]})
    told = {"title": "name", "price": "cost"}
    with pytest.raises(InputError, match="shop has no column 'cost'"):
        Records.of("shop", table, attributes=told)
    found = Records.of("shop", table, attributes=told, untold=["price"])
    assert found.values.rows() == [("tea", ""), ("", "")] and found.untold == ("price",)
    assert found.take(np.array([1])).untold == ("price",)
    with pytest.raises(InputError, match="shop has no column 'x' or 'y'; its columns are id, name"):
        Records.of("shop", table, attributes=["x", "y"], untold=["x", "y"])


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("rose soap", "the records are a list, a mapping for each record, and this is a str"),
        ({"title": "x"}, "the records are a list, a mapping for each record, and this is a dict"),
        (["rose soap"], "record 1 of the records is a str, and not a mapping such as {'title': ...}"),
        ([{"title": "x"}, 7], "record 2 of the records is a int"),
    ],
)
def test_what_is_no_record_is_named(told: object, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)):
        Records.told("the records", told, ["title"])
