"""`recsys recommend` and `recsys similar`: all that was asked for, and what came to nothing told in a line."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest

from serving.naming import Resolved
from training.cli import main


def asked(capsys: pytest.CaptureFixture, *argv: object) -> tuple[list[str], list[str]]:
    """What is printed, and what is told."""
    assert main([str(one) for one in argv]) == 0
    out, err = capsys.readouterr()
    return out.splitlines(), err.splitlines()


def test_as_many_are_printed_as_were_asked_for(capsys, string_folder, generator) -> None:
    users = [f"u00{n}" for n in range(1, 8)]  # more than the repr shows
    words = [word for user in users for word in ("--user", user)]
    out, _ = asked(capsys, "recommend", "--model", string_folder, *words, "-k", 13)
    expected = generator.recommend(users, k=13)
    assert [line.split()[1] for line in out if line.startswith(" ")] == [*chain(*expected.item_ids)]
    assert len(out) == 7 * 14
    assert "... 3 more" in repr(expected) and "... 2 more users" in repr(expected)
    out, _ = asked(capsys, "similar", "--model", string_folder, "--item", "sku-004", "--k", 13)
    assert [line.split()[1] for line in out[1:]] == generator.similar(["sku-004"], k=13).item_ids[0]
    out, _ = asked(capsys, "recommend", "--model", string_folder, "--user", "u001")
    assert len(out) == 1 + 10


def test_what_came_to_nothing_is_told_in_a_line(capsys, string_folder, tmp_path, generator) -> None:
    column, kind = next(one for one in generator.columns.items() if one[1] == "strings")
    assert kind == "strings"
    ask = ["recommend", "--model", string_folder, "--history", "sku-004,skuu-5, sku-006 ", "--history", "nothing"]
    out, err = asked(capsys, *ask)
    assert err == ["--history: 2 of 4 are no items here, such as 'skuu-5'"] and "(history)" in out[0]
    out, err = asked(capsys, *ask[:3], "--user", "u001", "--where", f"{column}=Gardn")
    assert err == [f"no item has {column}=Gardn"]
    absent = tmp_path / "nofile.txt"
    for option in ("--allow", "--deny"):
        out, err = asked(capsys, *ask[:3], "--user", "u001", option, absent)
        assert err == [f"{option}: {absent} is neither a file nor an item"]
    absent.write_text("sku-004\nsku-x\n")
    _, err = asked(capsys, *ask[:3], "--user", "u001", "--deny", absent)
    assert err == ["--deny: 1 of 2 are no items here, such as 'sku-x'"]
    _, err = asked(capsys, *ask[:3], "--user", "u001", "--deny", "sku-004", "--where", f"{column}=Gardn")
    assert err == [f"no item has {column}=Gardn"]
    _, err = asked(capsys, "similar", "--model", string_folder, "--item", "sku-004", "--allow", "sku-004")
    assert err == []


def test_the_last_new_item_needs_no_end_and_half_a_one_is_told(
    capsys, string_folder, tmp_path: Path, generator
) -> None:
    column = next(one for one in generator.new_items.columns if one in generator.columns)
    value = generator.new_items.shelf.columns.something(column)
    line = json.dumps({"item_id": "new-1", "attributes": {column: value if isinstance(value, str) else 1}})
    file = tmp_path / "new.jsonl"
    file.write_text(line)
    ask = ["recommend", "--model", string_folder, "--new-items", file, "--user", "u001", "--allow", "new-1"]
    out, err = asked(capsys, *ask)
    assert err == [] and out[1].split()[1] == "new-1"
    file.write_text(line + "\n" + line[:-9])
    out, err = asked(capsys, *ask)
    assert len(err) == 1 and f"{file}, line 2, has no end" in err[0] and out[1].split()[1] == "new-1"


def test_people_are_told_which_version_a_name_or_an_alias_is(capsys, string_folder, monkeypatch) -> None:
    found = Resolved(string_folder, "shop", "3")
    monkeypatch.setattr("serving.resolve.resolve", lambda source, uri=None: found)
    _, err = asked(capsys, "similar", "--model", "models:/shop", "--item", "sku-004")
    assert err == [
        "note: models:/shop is its newest version, 3, whether it was promoted or not; models:/shop@champion is the one "
        "that was"
    ]
    for source, told in (("models:/shop@champion", ["shop: version 3 answers"]), ("models:/shop/3", [])):
        assert asked(capsys, "similar", "--model", source, "--item", "sku-004")[1] == told
