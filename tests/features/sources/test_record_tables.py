"""Two tables and labelled pairs of one's own, however their columns are called."""

from pathlib import Path

import polars as pl
import pytest

from features.errors import InputError
from features.sources import load_pairs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pl.DataFrame(
        {"id": ["a", "b", "c", "d"], "title": ["one", "two", "three", "four"], "cost": [1, 2, 3, 4]}
    ).write_csv(tmp_path / "left.csv")
    pl.DataFrame({"sku": [1, 2, 3, 4], "name": ["One", "Two", "Three", "Four"], "price": [1.5, 2, 3, 4]}).write_parquet(
        tmp_path / "right.parquet"
    )
    pairs = {"left_id": ["a", "b", "c", "d"], "right_id": [1, 2, 3, 1], "label": [1, 1, 0, 0]}
    pl.DataFrame({**pairs, "part": ["train", "validation", "test", "train"]}).write_csv(tmp_path / "pairs.csv")
    return tmp_path


MAPPED = {
    "right": "right.parquet",
    "right_id": "sku",
    "left_columns": {"name": "title", "price": "cost"},
    "right_columns": {"name": "name", "price": "price"},
}


def test_columns_become_attributes_and_parts_are_those_that_are_said(folder: Path) -> None:
    found = load_pairs("record-tables", folder, **MAPPED)
    assert found.name == "pairs" and found.train.left.attributes == ["name", "price"]
    assert found.train.frame().rows() == [("a", 1, 1), ("d", 1, 0)] and len(found.test) == 1
    assert found.train.right.values.row(0) == ("One", "1.5")


def test_a_table_alone_is_compared_with_itself(folder: Path) -> None:
    pairs = {"ltable_id": ["a", "b"] * 10, "rtable_id": ["b", "c"] * 10, "label": [1, 0] * 10}
    parts = ["train"] * 10 + ["validation"] * 6 + ["test"] * 4
    pl.DataFrame({**pairs, "part": parts}).write_csv(folder / "own.csv")
    found = load_pairs("record-tables", folder, pairs="own.csv")
    assert found.train.left is found.train.right and len(found.train) == 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**MAPPED, "right_columns": {"name": "name", "price": "cost"}}, r"right\.parquet has no column 'cost'"),
        ({**MAPPED, "right": "other.csv"}, r"other\.csv"),
        ({"right": "right.parquet", "right_id": "sku"}, "map the columns of one to those of the other"),
        ({**MAPPED, "pairs": "left.csv"}, r"left\.csv has no column 'left_id'"),
        ({**MAPPED, "left_id": "sku"}, r"left\.csv has no column 'sku'"),
        ({**MAPPED, "colour": "red"}, "the source 'record-tables' has no setting 'colour'"),
    ],
)
def test_what_does_not_fit_is_told(folder: Path, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_pairs("record-tables", folder, **settings)


def test_pairs_without_labels_are_told(folder: Path) -> None:
    pl.read_csv(folder / "pairs.csv").drop("label").write_csv(folder / "bare.csv")
    with pytest.raises(InputError, match=r"bare\.csv has no column 'label'"):
        load_pairs("record-tables", folder, **{**MAPPED, "pairs": "bare.csv"})


def test_an_unknown_source_is_told() -> None:
    with pytest.raises(InputError, match="there is no data source 'csv'; the sources are record-tables, deepmatcher"):
        load_pairs("csv")
