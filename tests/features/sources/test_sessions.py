"""Sessions, published in a training and a test file."""

from pathlib import Path

import pytest

from features.errors import InputError
from features.prepared import Prepared
from features.sources import load
from features.splits import make_split

TRAIN, TEST = "1 2\n3 1  3\n", "2 1 3\t2\n2 1\t3\n2\t1\n"


def _folder(folder: Path, train: str | bytes | None = TRAIN, test: str | None = TEST) -> Path:
    for name, text in (("train_sessions.txt", train), ("test_prefix_target.tsv", test)):
        if text is not None:
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_each_line_is_a_session_and_the_given_split_asks_for_targets(tmp_path: Path) -> None:
    dataset = load("sessions", _folder(tmp_path))
    assert dataset.interactions.columns == ["user_id", "item_id", "timestamp", "part"]
    rows = dataset.interactions.drop("timestamp").rows()
    assert rows[:5] == [(0, 1, "train"), (0, 2, "train"), (1, 3, "train"), (1, 1, "train"), (1, 3, "train")]
    assert rows[5:9] == [(2, 2, "context"), (2, 1, "context"), (2, 3, "context"), (2, 2, "test")]
    assert rows[9:] == [(3, 2, "context"), (3, 1, "context"), (3, 3, "test"), (4, 2, "context"), (4, 1, "test")]
    assert dataset.interactions["timestamp"].to_list() == list(range(14))
    prepared = Prepared.of(dataset, make_split("given", dataset, validation=0))
    asked = [
        (
            prepared.items.ids_of(prepared.test_histories.row(user)).to_list(),
            prepared.items.ids[prepared.test.row(user)].to_list(),
        )
        for user in (2, 3, 4)
    ]
    assert asked == [([2, 1, 3], [2]), ([2, 1], [3]), ([2], [1])]
    latest = make_split("given", dataset, validation=0.4, seed="latest")
    assert latest.parts.tolist()[:5] == [0, 0, 3, 3, 1]  # the last line that trains


def test_windows_line_ends_and_text_ids(tmp_path: Path) -> None:
    dataset = load("sessions", _folder(tmp_path, "a b\r\n\r\nb c\r\n", "a b \t c\r\n"))
    assert dataset.interactions["item_id"].to_list() == ["a", "b", "b", "c", "a", "b", "c"]
    assert dataset.interactions["part"].to_list() == ["train"] * 4 + ["context", "context", "test"]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (None, TEST, r"there is no file .*train_sessions.txt"),
        (TRAIN, None, r"there is no file .*test_prefix_target.tsv"),
        ("\n", TEST, r"train_sessions.txt is empty"),
        (b"1 2\n\xff\n", TEST, r"train_sessions.txt is not UTF-8 text"),
        (TRAIN, "1 2\t3\n\n1 2\n", r"line 3 of .*test_prefix_target.tsv has no target: .*, got '1 2'"),
        (TRAIN, "1\t3\t4\n", r"line 1 of .* has more than one tab"),
        (TRAIN, "\t3\n", r"line 1 of .* has a target and no item before it"),
        (TRAIN, "1\t3 4\n", r"line 1 of .* has more than one item as its target"),
        (TRAIN, "1\t\n", r"line 1 of .* has no target"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path: Path, train, test, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("sessions", _folder(tmp_path, train, test))


def test_a_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reads a folder with train_sessions.txt and test_prefix_target.tsv"):
        load("sessions", tmp_path / "none")
