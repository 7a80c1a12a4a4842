"""New items in the table that they are added to: in its types, or refused by name."""

import json
from datetime import date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from features.added_items import with_new_items
from features.errors import InputError

ITEMS = pl.DataFrame(
    {
        "item_id": ["ink", "tea"],
        "title": ["Ink", None],
        "price": [1.5, None],
        "stock": [3, None],
        "sold": [True, None],
        "tags": [["red"], []],
        "sizes": [[1, 2], None],
        "since": [date(2020, 1, 1), None],
        "seen": [datetime(2020, 1, 1, 10), None],
    }
)


def test_new_items_have_the_types_of_the_table() -> None:
    said = {
        "title": "Jam",
        "price": 2,
        "stock": 5,
        "sold": False,
        "tags": ["sweet", "red"],
        "sizes": [3],
        "since": "2024-05-01",
        "seen": "2024-05-01T10:30:00",
        "colour": "red",
    }
    made = with_new_items(ITEMS, {"jam": json.loads(json.dumps(said)), "ink": {"title": "Not ink"}, "pen": {}})
    assert made.schema == ITEMS.schema
    assert made[:2].equals(ITEMS)
    jam = ("jam", "Jam", 2.0, 5, False, ["sweet", "red"], [3], date(2024, 5, 1), datetime(2024, 5, 1, 10, 30))
    assert made.rows()[2:] == [jam, ("pen", *[None] * 8)]
    assert with_new_items(ITEMS, {"tea": {"title": "Tea"}}) is ITEMS
    assert with_new_items(ITEMS, {}) is ITEMS


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_of_any_zone_and_precision_stand_in_one_column(zone: str | None, unit: str) -> None:
    """Each is taken in alone by a service, and the next build reads them together."""
    items = pl.DataFrame({"item_id": ["ink"], "seen": pl.Series([datetime(2020, 1, 1)], dtype=pl.Datetime(unit, zone))})
    told = ["2024-05-01", "2024-05-01T10:30:00Z", "2024-05-01T10:30+02:00", "2024-05-01 10:30:00.5", None]
    alone = [with_new_items(items, {"tea": {"seen": one}})["seen"][1] for one in told]
    made = with_new_items(items, {f"tea {n}": {"seen": one} for n, one in enumerate(told)})
    assert made.schema == items.schema and made["seen"].to_list()[1:] == alone
    tz = zone and ZoneInfo(zone)
    summer = 2 if zone else 0  # hours that its clocks are ahead of UTC
    assert alone[:3] == [
        datetime(2024, 5, 1, tzinfo=tz),
        datetime(2024, 5, 1, 10 + summer, 30, tzinfo=tz),
        datetime(2024, 5, 1, 8 + summer, 30, tzinfo=tz),
    ]


@pytest.mark.parametrize("told", ["01.05.2024", "2024/05/01", "", "2024-13-01", "\ud800"])
@pytest.mark.parametrize("column", ["since", "seen"])
def test_dates_are_those_of_iso_8601_alone(column: str, told: str) -> None:
    """Of other ways to write them, nobody knows which is the day and which the month."""
    with pytest.raises(InputError, match=f"new items: column '{column}' holds Date"):
        with_new_items(ITEMS, {"jam": {column: told}})


def test_an_item_of_which_the_table_says_nothing_is_told_of() -> None:
    """Somebody has taken it before the table had a line for it."""
    items = pl.DataFrame({"item_id": [1, 2, 3], "title": ["Ink", None, None], "brand": ["Ada", None, "Bob"]})
    told = with_new_items(items, {1: {"title": "Red ink"}, 2: {"title": "Tea"}, 3: {"title": "Pen"}, 4: {}})
    assert told.rows() == [(1, "Ink", "Ada"), (3, None, "Bob"), (2, "Tea", None), (4, None, None)]
    assert with_new_items(items[["item_id"]], {2: {"title": "Tea"}})["item_id"].to_list() == [1, 2, 3]


@pytest.mark.parametrize(
    ("item", "said", "column"),
    [
        (7, {}, "item_id"),
        ("jam", {"title": 7}, "title"),
        ("jam", {"title": ["Jam"]}, "title"),
        ("jam", {"price": "2"}, "price"),
        ("jam", {"price": True}, "price"),
        ("jam", {"stock": 1.5}, "stock"),
        ("jam", {"stock": 2**70}, "stock"),
        ("jam", {"stock": True}, "stock"),
        ("jam", {"sold": 1}, "sold"),
        ("jam", {"tags": "sweet"}, "tags"),
        ("jam", {"tags": [1]}, "tags"),
        ("jam", {"sizes": ["1"]}, "sizes"),
        ("jam", {"title": {"a": 1}}, "title"),
        ("jam", {"since": "yesterday"}, "since"),
        ("jam", {"since": 3}, "since"),
        ("jam", {"seen": "2024-05-01T10:30:00 or so"}, "seen"),
        ("jam", {"seen": True}, "seen"),
        ("jam", {"sizes": [1, True]}, "sizes"),
        ("jam", {"sizes": [[1]]}, "sizes"),
    ],
)
def test_what_is_said_in_another_type_is_told(item, said, column: str) -> None:
    with pytest.raises(InputError, match=f"new items: column '{column}' holds .*, which .* is not") as caught:
        with_new_items(ITEMS, {"pen": {}, item: said})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("item", ["8", True, 1.0, 2**63])
def test_ids_of_another_type_than_the_tables_are_told(item) -> None:
    numbers = pl.DataFrame({"item_id": [7], "title": ["Seven"]})
    with pytest.raises(InputError, match="new items: column 'item_id' holds Int64"):
        with_new_items(numbers, {item: {}})
    assert with_new_items(numbers, {2**63 - 1: {}, 7: {}})["item_id"].to_list() == [7, 2**63 - 1]


def test_a_column_of_nothing_takes_anything() -> None:
    items = pl.DataFrame({"item_id": [1], "brand": [None]})
    assert with_new_items(items, {2: {"brand": "Bob"}, 3: {}})["brand"].to_list() == [None, "Bob", None]
    assert with_new_items(items, {2: {}}).schema["brand"] == pl.Null
    with pytest.raises(InputError, match="'brand'"):
        with_new_items(items, {2: {"brand": "Bob"}, 3: {"brand": 1}})


def test_categories_take_new_values_where_they_can() -> None:
    items = pl.DataFrame({"item_id": [1], "brand": pl.Series(["Ada"], dtype=pl.Categorical)})
    assert with_new_items(items, {2: {"brand": "Bob"}})["brand"].to_list() == ["Ada", "Bob"]
    items = items.with_columns(brand=pl.Series(["Ada"], dtype=pl.Enum(["Ada", "Eve"])))
    assert with_new_items(items, {2: {"brand": "Eve"}})["brand"].to_list() == ["Ada", "Eve"]
    with pytest.raises(InputError, match="'brand'"):
        with_new_items(items, {2: {"brand": "Bob"}})
