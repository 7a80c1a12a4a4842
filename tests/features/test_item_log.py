"""New items in a file that several write to and any may be killed over."""

import fcntl
import resource
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.item_log import ItemLog

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


@pytest.mark.parametrize("left", [b'{"item_id": "ink", "attrib', b"{", LINE[:-2], "\u05e9".encode()[:1]])
def test_a_line_that_was_cut_short_is_not_there(tmp_path: Path, left: bytes) -> None:
    log = ItemLog(tmp_path / "items.jsonl")
    log.add({"pen": {}})
    with log.path.open("ab") as file:
        file.write(left)
    assert log.read() == {"pen": {}}
    assert "items.jsonl, line 2, has no end" in str(log.unfinished())
    log.add({"jam": {}})
    assert log.read() == {"pen": {}, "jam": {}} and log.unfinished() is None
    assert log.path.read_bytes().count(b"\n") == 2
    log.path.write_bytes(left)  # the first line of all
    assert log.read() == {}
    log.add({"jam": {}})
    assert log.read() == {"jam": {}}


@pytest.mark.parametrize("before", [b"", b'{"item_id": "pen", "attributes": {}}\n'])
def test_a_whole_item_at_the_end_needs_no_end(tmp_path: Path, before: bytes) -> None:
    """As an editor leaves it; and whoever writes next does not take it away."""
    log = ItemLog(tmp_path / "items.jsonl")
    log.path.write_bytes(before + LINE[:-1])
    there = {"pen": {}} if before else {}
    assert log.read() == there | {"tea": {"title": "Tea"}} and log.unfinished() is None
    log.add({"jam": {}})
    assert log.read() == there | {"tea": {"title": "Tea"}, "jam": {}}
    log.path.write_bytes(log.path.read_bytes() + b'{"item_id": "tea", "gone": true}')
    assert log.read() == there | {"jam": {}}


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
