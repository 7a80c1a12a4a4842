"""Two tables and labelled pairs of one's own, however their columns are called."""

from pathlib import Path

import polars as pl
import pytest

from features.errors import InputError
from features.sources import load_pairs
from features.sources.record_tables import label_column, read_pairs


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
    pairs = {"ltable_id": ["a", "b", "c"], "rtable_id": ["b", "c", "d"], "label": [1, 0, 1]}
    parts = ["train", "validation", "test"]
    pl.DataFrame({**pairs, "part": parts}).write_csv(folder / "own.csv")
    found = load_pairs("record-tables", folder, pairs="own.csv")
    assert found.train.left is found.train.right and len(found.train) == 1
    turned = {**pairs, "ltable_id": ["a", "b", "b"], "rtable_id": ["b", "c", "a"]}
    pl.DataFrame({**turned, "part": parts}).write_csv(folder / "own.csv")
    with pytest.raises(InputError, match="the pair 'b' and 'a' in two parts, train and test"):
        load_pairs("record-tables", folder, pairs="own.csv")


def test_right_columns_are_those_of_the_left_attributes_unless_they_are_mapped(folder: Path) -> None:
    other = pl.DataFrame({"sku": [1, 2, 3, 4], "more": ["x"] * 4, "cost": [1, 2, 3, 4], "title": ["One"] * 4})
    other.write_csv(folder / "other.csv")
    found = load_pairs("record-tables", folder, right="other.csv", right_id="sku", left_columns={"title": "title"})
    assert found.train.right.attributes == ["title"]
    found = load_pairs("record-tables", folder, right="other.csv", right_id="sku")
    assert found.train.right.attributes == ["title", "cost"]
    with pytest.raises(InputError, match="right_id and right_columns are of a right table, and none is named"):
        load_pairs("record-tables", folder, right_columns={"title": "name"})


def test_pairs_without_a_label_are_left_out_and_several_files_come_together(folder: Path) -> None:
    more = pl.DataFrame({"left_id": ["b", "c", "d"], "right_id": [1, 1, 2], "label": ["1", "", None]})
    more.write_csv(folder / "more.csv")
    found = load_pairs("record-tables", folder, **{**MAPPED, "pairs": ["pairs.csv", "more.csv"]})
    assert found.train.frame().rows() == [("a", 1, 1), ("d", 1, 0), ("b", 1, 1)]
    assert len(found.validation) == len(found.test) == 1
    unlabelled = read_pairs([folder / "more.csv"], found.train.left, found.train.right)
    assert unlabelled.labels is None and len(unlabelled) == 3
    labelled = read_pairs([folder / "more.csv"], found.train.left, found.train.right, labelled=True)
    assert labelled.labels.tolist() == [True]


def test_ids_are_the_same_as_they_are_written(folder: Path) -> None:
    pl.DataFrame({"left_id": ["a"], "right_id": ["007"]}).write_csv(folder / "odd.csv")
    found = load_pairs("record-tables", folder, **MAPPED).train
    with pytest.raises(InputError, match=r"1 ids in column 'right_id' that .* lacks, such as '007' in row 1"):
        read_pairs([folder / "odd.csv"], found.left, found.right)


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
    with pytest.raises(InputError, match=r"bare\.csv has no column 'label', which says .*; its columns are left_id, "):
        load_pairs("record-tables", folder, **{**MAPPED, "pairs": "bare.csv"})
    pl.read_csv(folder / "pairs.csv").with_columns(label=pl.lit("")).write_csv(folder / "empty.csv")
    with pytest.raises(InputError, match=r"empty\.csv has no label: its column 'label' is empty"):
        load_pairs("record-tables", folder, **{**MAPPED, "pairs": "empty.csv"})


def test_columns_of_pairs_are_mapped_and_files_of_ones_own_are_not(folder: Path) -> None:
    plain = load_pairs("record-tables", folder, **MAPPED)
    named = {"left_id": "ours", "right_id": "left_id", "label": "same"}
    table = pl.read_csv(folder / "pairs.csv").rename(named)
    # a column that another one takes the name of is not read
    table.with_columns(label=pl.lit("who knows")).write_csv(folder / "odd.csv")
    settings = {**MAPPED, "pairs": "odd.csv", "pairs_columns": named}
    found = load_pairs("record-tables", folder, **settings)
    assert found.train.frame().rows() == plain.train.frame().rows() and len(found.test) == 1
    pl.DataFrame({"left_id": ["b"], "right_id": [1], "label": [1]}).write_csv(folder / "more.csv")
    named = {"left_id": "ours", "label": "same"}
    table.rename({"left_id": "right_id"}).write_csv(folder / "odd.csv")
    both = {**settings, "pairs": ["odd.csv", "more.csv"], "pairs_columns": named}
    assert load_pairs("record-tables", folder, **both).train.frame().rows() == [("a", 1, 1), ("d", 1, 0), ("b", 1, 1)]
    assert label_column(folder / "odd.csv", named) == "same"
    assert label_column(folder / "left.csv", {"left_id": "id"}) is None
    for wrong, message in (
        ({"label": "nil"}, r"odd\.csv has no column 'nil' \(for label\); its columns are ours, "),
        ({"colour": "same"}, "pairs_columns has 'colour', and what is read of pairs is left_id, right_id, label, part"),
    ):
        with pytest.raises(InputError, match=message):
            load_pairs("record-tables", folder, **{**settings, "pairs_columns": wrong})


def test_columns_that_are_not_mapped_are_called_as_the_attributes(folder: Path) -> None:
    pl.DataFrame({"sku": [1, 2, 3, 4], "cost": [1, 2, 3, 4], "name": ["One"] * 4}).write_csv(folder / "other.csv")
    told = {"right": "other.csv", "right_id": "sku"}
    found = load_pairs("record-tables", folder, **told, right_columns={"title": "name"}).train
    assert found.right.attributes == found.left.attributes == ["title", "cost"]
    assert found.right.values.row(0) == ("One", "1")
    with pytest.raises(InputError, match="right_columns has the attribute 'colour', and what is told of records is ti"):
        load_pairs("record-tables", folder, **told, right_columns={"colour": "name"})


def test_an_unknown_source_is_told() -> None:
    with pytest.raises(InputError, match="there is no data source 'csv'; the sources are record-tables, deepmatcher"):
        load_pairs("csv")
