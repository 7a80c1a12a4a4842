"""Pairs of records by their ids, with labels and without, and what does not fit told in one sentence."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records

LEFT = Records.of("left", pl.DataFrame({"id": ["a", "b", "c"], "name": ["one", "two", "three"]}))
RIGHT = Records.of("right", pl.DataFrame({"id": [5, 6], "name": ["One", "Two"]}))
TABLE = pl.DataFrame({"ltable_id": ["b", "a", "a"], "rtable_id": [6, 5, 6], "label": [1, 1, 0]})


def test_ids_become_rows_and_come_back() -> None:
    pairs = RecordPairs.of(LEFT, RIGHT, TABLE)
    assert pairs.left_rows.tolist() == [1, 0, 0] and pairs.right_rows.tolist() == [1, 0, 1]
    assert pairs.labels.tolist() == [True, True, False] and len(pairs) == 3
    assert repr(pairs) == "RecordPairs(3 of 'left' and 'right', 2 of them the same)"
    assert pairs.frame().rows() == [("b", 6, 1), ("a", 5, 1), ("a", 6, 0)]
    some = pairs.take(np.array([2, 0]))
    assert some.frame().rows() == [("a", 6, 0), ("b", 6, 1)]


def test_pairs_without_labels_have_none() -> None:
    pairs = RecordPairs.of(
        LEFT, RIGHT, TABLE.drop("label").rename({"ltable_id": "l", "rtable_id": "r"}), columns=("l", "r")
    )
    assert pairs.labels is None and pairs.frame().columns == ["left_id", "right_id"]
    assert pairs.take(np.array([0])).labels is None and repr(pairs) == "RecordPairs(3 of 'left' and 'right')"


@pytest.mark.parametrize("labels", [["1", " 0", "1"], [True, False, True], [1.0, 0.0, 1.0], ["true", "False", "1"]])
def test_labels_are_read_however_they_are_written(labels: list) -> None:
    pairs = RecordPairs.of(LEFT, RIGHT, TABLE.with_columns(label=pl.Series(labels)))
    assert pairs.labels.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop("rtable_id"), "the pairs has no column 'rtable_id'"),
        (
            TABLE.with_columns(ltable_id=pl.Series(["b", "x", "y"])),
            "the pairs has 2 ids in column 'ltable_id' that left lacks, such as 'x' in row 2",
        ),
        (TABLE.with_columns(rtable_id=pl.Series([6, None, 6])), "1 ids in column 'rtable_id' that right lacks"),
        (
            TABLE.with_columns(label=pl.Series([1, 2, None])),
            "2 labels in column 'label' that are neither 0 nor 1 .nor no and yes., such as 2",
        ),
        (
            pl.concat([TABLE, TABLE[:1].with_columns(label=pl.lit(0, pl.Int64))]),
            "labels the pair 'b' and 6 both 0 and 1",
        ),
    ],
)
def test_what_does_not_fit_is_told(table: pl.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RecordPairs.of(LEFT, RIGHT, table)


def test_tables_that_tell_other_things_are_not_compared() -> None:
    other = Records.of("other", pl.DataFrame({"id": [1], "title": ["One"]}))
    with pytest.raises(InputError, match="left tells name, and other tells title"):
        RecordPairs.of(LEFT, other, TABLE.clear())


def test_parts_are_labelled_and_none_is_empty() -> None:
    pairs = RecordPairs.of(LEFT, RIGHT, TABLE)
    data = LabelledPairs("both", pairs, pairs.take(np.array([0])), pairs.take(np.array([2])))
    assert repr(data) == "LabelledPairs('both': 3 train (2 the same), 1 validation (1 the same), 1 test (0 the same))"
    with pytest.raises(InputError, match="both has no pair for validation"):
        LabelledPairs("both", pairs, pairs.take(np.array([], dtype=np.int64)), pairs)
    with pytest.raises(InputError, match="the pairs for test of both have no labels"):
        LabelledPairs("both", pairs, pairs, RecordPairs(LEFT, RIGHT, pairs.left_rows, pairs.right_rows))


def many(n: int, same: int) -> RecordPairs:
    left, right = (
        Records.of(name, pl.DataFrame({"id": range(n), "name": ["x"] * n})) for name in ("left table", "right table")
    )
    labels = np.zeros(n, bool)
    labels[:same] = True
    return RecordPairs(left, right, np.arange(n), np.arange(n)[::-1].copy(), labels)


def test_drawn_parts_have_the_shares_that_were_asked_for_of_each_label() -> None:
    pairs = many(1000, 100)
    found = LabelledPairs.drawn("some", pairs, validation=0.1, test=0.3, seed=4)
    assert {name: (len(part), int(part.labels.sum())) for name, part in found.parts.items()} == {
        "train": (600, 60),
        "validation": (100, 10),
        "test": (300, 30),
    }
    rows = np.concatenate([part.left_rows for part in found.parts.values()])
    assert sorted(rows.tolist()) == list(range(1000))
    again, other = (LabelledPairs.drawn("some", pairs, 0.1, 0.3, seed) for seed in (4, 5))
    assert again.split_sha256 == found.split_sha256 != other.split_sha256 and other.sha256 == found.sha256


def test_a_pair_is_drawn_once_whichever_way_round_it_is() -> None:
    one = Records.of("one", pl.DataFrame({"id": range(40), "name": ["x"] * 40}))
    lefts = np.concatenate([np.arange(20), np.arange(20, 40)])
    pairs = RecordPairs(one, one, lefts, (lefts + 20) % 40, np.tile([True, False], 20))
    found = LabelledPairs.drawn("one", pairs)
    assert sum(map(len, found.parts.values())) == 20


@pytest.mark.parametrize(("validation", "test"), [(0, 0.2), (0.2, 0), (0.5, 0.5), (-0.1, 0.2)])
def test_shares_that_cannot_be_are_told(validation: float, test: float) -> None:
    with pytest.raises(InputError, match=f"validation is {validation:g} and test {test:g}: both are shares"):
        LabelledPairs.drawn("some", many(100, 50), validation, test)


def test_parts_are_drawn_of_labelled_pairs_alone() -> None:
    with pytest.raises(InputError, match="the pairs of some have no labels"):
        LabelledPairs.drawn("some", dataclasses.replace(many(100, 50), labels=None))


def test_given_parts_are_those_that_are_said() -> None:
    part = pl.Series(["train", " Valid", "test", "TRAIN"])
    found = LabelledPairs.given("some", many(4, 2), part)
    assert found.train.left_rows.tolist() == [0, 3] and found.validation.left_rows.tolist() == [1]
    with pytest.raises(InputError, match=r"pairs\.csv has 2 values in column 'part' .* such as None in row 2"):
        LabelledPairs.given("some", many(4, 2), pl.Series(["train", None, "test", "dev"]), "pairs.csv")
    with pytest.raises(InputError, match="some has no pair for test"):
        LabelledPairs.given("some", many(2, 1), pl.Series(["train", "validation"]))
