"""New items in a file that several write to and any may be killed over, and in the table that they are added to."""

import fcntl
import json
import resource
import subprocess
import sys
import threading
import time
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.item_log import ItemLog, with_new_items

ROOT = Path(__file__).parents[2]
LINE = b'{"item_id": "tea", "attributes": {"title": "Tea"}}\n'

IDS = st.one_of(st.sampled_from(["a", "b", "7", 7, -(2**63), 2**63 - 1]), st.text(max_size=3))
SAID = st.dictionaries(
    st.text(max_size=3),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.text(max_size=2), max_size=2)),
    max_size=2,
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.dictionaries(IDS, SAID, max_size=3), st.lists(IDS, max_size=3)), max_size=6))
def test_a_log_is_a_dictionary_that_stays(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    path, expected = tmp_path_factory.mktemp("log") / "items.jsonl", {}
    for step in steps:
        if isinstance(step, dict):
            ItemLog(path).add(step)
            expected |= step
        else:
            ItemLog(path).remove(step)
            expected = {item: said for item, said in expected.items() if item not in step}
        found = ItemLog(path).read()
        assert found == expected
        assert [type(one) for one in found] == [type(one) for one in expected]
    assert list(ItemLog(path).read()) == list(expected)


def test_there_is_no_file_before_the_first_line(tmp_path: Path) -> None:
    log = ItemLog(tmp_path / "deep" / "items.jsonl")
    assert log.read() == {}
    log.add({})
    log.remove([])
    assert not log.path.exists()
    log.add({"tea": {}})
    assert log.read() == {"tea": {}}


def test_the_last_line_of_an_item_counts(tmp_path: Path) -> None:
    log = ItemLog(tmp_path / "items.jsonl")
    log.add({"tea": {"title": "Tea", "price": 3}, "ink": {"title": "Ink"}, 7: {"title": "Seven"}, "7": {}})
    log.add({"tea": {"title": "Green tea"}})
    log.remove(["ink", "never there"])
    assert list(log.read().items()) == [("tea", {"title": "Green tea"}), (7, {"title": "Seven"}), ("7", {})]
    log.add({"ink": {"title": "Red ink"}})
    assert list(log.read()) == ["tea", 7, "7", "ink"]


@pytest.mark.parametrize("left", [b'{"item_id": "ink", "attrib', b"{", LINE[:-1], "\u05e9".encode()[:1]])
def test_a_line_that_was_cut_short_is_not_there(tmp_path: Path, left: bytes) -> None:
    log = ItemLog(tmp_path / "items.jsonl")
    log.add({"pen": {}})
    with log.path.open("ab") as file:
        file.write(left)
    assert log.read() == {"pen": {}}
    log.add({"jam": {}})
    assert log.read() == {"pen": {}, "jam": {}}
    assert log.path.read_bytes().count(b"\n") == 2
    log.path.write_bytes(left)  # the first line of all
    assert log.read() == {}
    log.add({"jam": {}})
    assert log.read() == {"jam": {}}


@pytest.mark.parametrize(
    "line",
    [
        b"tea",
        b"\xff",
        b"null",
        b"[]",
        b'"tea"',
        b"{}",
        b'{"item_id": "tea"}',
        b'{"item_id": null, "gone": true}',
        b'{"item_id": true, "gone": true}',
        b'{"item_id": 1.5, "gone": true}',
        b'{"item_id": ["tea"], "gone": true}',
        b'{"item_id": "tea", "attributes": null}',
        b'{"item_id": "tea", "attributes": [["title", "Tea"]]}',
    ],
)
def test_a_line_of_something_else_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(LINE + b"\n \n" + line + b"\n" + LINE)
    with pytest.raises(InputError, match=r"items\.jsonl, line 4: not a new item, as .* is one") as caught:
        ItemLog(path).read()
    assert "\n" not in str(caught.value)


def test_what_else_a_line_says_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(b'{"item_id": "tea", "attributes": {}, "by": "somebody", "gone": false}\n')
    assert ItemLog(path).read() == {"tea": {}}


def test_a_file_that_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = ItemLog(tmp_path / "file" / "items.jsonl")
    with pytest.raises(
        InputError, match=r"the new items .*items\.jsonl cannot be written: (Not a directory|File exists)"
    ):
        log.add({"tea": {}})
    with pytest.raises(InputError, match=r"the new items .*items\.jsonl cannot be read: Not a directory"):
        log.read()
    for act in (ItemLog(tmp_path).read, lambda: ItemLog(tmp_path).remove(["tea"])):
        with pytest.raises(InputError, match="Is a directory"):
            act()


def test_what_a_full_disk_refuses_is_not_there_in_part(tmp_path: Path) -> None:
    log, items = ItemLog(tmp_path / "items.jsonl"), {f"tea {n}": {"title": "Tea"} for n in range(9)}
    log.add({"ink": {}})
    before, limits = log.path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 200, limits[1]))  # room for some of the lines
    try:
        with pytest.raises(InputError, match=r"the new items .*items\.jsonl cannot be written"):
            log.add(items)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.path.read_bytes() == before
    log.add(items)
    assert list(log.read()) == ["ink", *items]


@pytest.mark.parametrize("said", [{"when": date(2024, 5, 1)}, {"title": "\ud800"}, {"tags": {"a"}}])
def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path, said) -> None:
    log = ItemLog(tmp_path / "items.jsonl")
    with pytest.raises(InputError, match="new items: what is said of them is not what JSON can hold"):
        log.add({"ink": {}, "tea": said})
    assert log.read() == {}


def test_two_writers_lose_nothing_of_each_other(tmp_path: Path) -> None:
    code = """
import sys
from features.item_log import ItemLog
log, name = ItemLog(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for n in range(60):
    log.add({f"{name}{n}": {"title": name * (n * 50)}})
"""
    path = tmp_path / "items.jsonl"
    path.write_bytes(LINE + b'{"item_id": "cut sh')
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    while any(process.poll() is None for process in processes):
        ItemLog(path).read()  # at any time, what is there is whole
        time.sleep(0.01)
    assert [process.returncode for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    found = ItemLog(path).read()
    assert len(found) == 1 + 2 * 60
    assert all(found[f"{name}{n}"] == {"title": name * (n * 50)} for name in "ab" for n in range(60))


def test_readers_and_writers_wait_for_who_writes(tmp_path: Path) -> None:
    """Because a writer may be taking away what a kill has left."""
    log = ItemLog(tmp_path / "items.jsonl")
    log.add({"tea": {}})
    waiting = [threading.Thread(target=one) for one in (log.read, lambda: log.add({"ink": {}}))]
    with log.path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for one in waiting:
            one.start()
            one.join(0.1)
            assert one.is_alive()
    for one in waiting:
        one.join()
    assert list(log.read()) == ["tea", "ink"]


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
