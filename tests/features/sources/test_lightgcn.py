"""Interactions without an order, published in a training and a test file."""

from pathlib import Path

import pytest

from features.errors import InputError
from features.prepared import Prepared
from features.sources import load
from features.splits import make_split

TRAIN = "0 1 2 3 4 5 6 7 8 9 10\n1 4 5\n2\n"
TEST = "0 11 12\n2 1\n"


def _folder(folder: Path, train: str | None = TRAIN, test: str | None = TEST) -> Path:
    for name, text in (("train.txt", train), ("test.txt", test)):
        if text is not None:
            (folder / name).write_text(text)
    return folder


def test_parts_are_the_files_and_a_share_of_each_users_training_items(tmp_path: Path) -> None:
    dataset = load("lightgcn", _folder(tmp_path), validation=0.2)
    assert dataset.interactions.columns == ["user_id", "item_id", "timestamp", "part"]
    split = make_split("given", dataset, validation=0, seen="train+validation")
    prepared = Prepared.of(dataset, split)

    def of(user: int, part: str) -> list[int]:
        row = int(prepared.users.rows(dataset.users["user_id"].filter(dataset.users["user_id"] == user))[0])
        return sorted(prepared.items.ids_of(getattr(prepared, part).row(row)).to_list())

    assert len(of(0, "validation")) == 2 and sorted(of(0, "train") + of(0, "validation")) == list(range(1, 11))
    assert (of(0, "test"), of(0, "test_histories")) == ([11, 12], list(range(1, 11)))
    assert (of(1, "train"), of(1, "validation"), of(1, "test")) == ([4, 5], [], [])
    assert (of(2, "train"), of(2, "test")) == ([], [1])


def test_what_is_drawn_depends_on_the_seed_alone(tmp_path: Path) -> None:
    one, again, other = (load("lightgcn", _folder(tmp_path), seed=seed) for seed in (0, 0, 1))
    assert one.interactions.equals(again.interactions)
    assert not one.interactions.equals(other.interactions)
    none = load("lightgcn", tmp_path, validation=0)
    assert set(none.interactions["part"]) == {"train", "test"}


def test_ids_may_be_text_and_items_may_be_named_twice(tmp_path: Path) -> None:
    dataset = load("lightgcn", _folder(tmp_path, "a x x y\r\n", "a z \n"), validation=0)
    assert dataset.interactions["item_id"].to_list() == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (None, TEST, r"there is no file .*train\.txt"),
        (TRAIN, None, r"there is no file .*test\.txt"),
        ("\n", TEST, r"train\.txt is empty"),
        (TRAIN, "0 3 11\n", r"1 interactions stand in train.txt and in test.txt of .*, such as the item '3' of"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, train: str | None, test: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("lightgcn", _folder(tmp_path, train, test))


def test_a_folder_and_a_share_are_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the source .lightgcn. reads a folder with train\.txt and test\.txt"):
        load("lightgcn", tmp_path / "nowhere")
    with pytest.raises(InputError, match="validation"):
        load("lightgcn", _folder(tmp_path), validation=1.5)
