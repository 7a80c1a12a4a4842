"""Text files of sequences, in both forms."""

from pathlib import Path

import pytest

from features.errors import InputError
from features.sources import load


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "log.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", ["1 10 11\n2 10\n", "1 10\n1 11\n2 10", "1\t10  11\r\n\r\n2 10 \r\n"])
def test_both_forms_say_the_same(tmp_path: Path, text: str) -> None:
    dataset = load("sequences", _file(tmp_path, text))
    assert dataset.interactions.rows() == [(1, 10, 0), (1, 11, 1), (2, 10, 0)]
    assert dataset.name == "log" and not dataset.dated


def test_interleaved_pairs_count_places_by_user(tmp_path: Path) -> None:
    dataset = load("sequences", _file(tmp_path, "a 1\nb 1\na 2\n"))
    assert dataset.interactions["timestamp"].to_list() == [0, 0, 1]


def test_one_odd_id_keeps_all_of_them_text(tmp_path: Path) -> None:
    dataset = load("sequences", _file(tmp_path, f"1 010 10\n{2**53 + 1} 10\n"))
    assert dataset.interactions["item_id"].to_list() == ["010", "10", "10"]
    assert dataset.interactions["user_id"].to_list() == [1, 1, 2**53 + 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "log.txt is empty"),
        ("\n \n", "log.txt is empty"),
        ("1 2 3\n\n4\n", "line 3 of .*log.txt has a user and no item: '4'"),
        (b"1 2\n\xff\xfe 3\n", "is not UTF-8 text"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("sequences", _file(tmp_path, text))


def test_a_file_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reads one text file"):
        load("sequences", tmp_path)
