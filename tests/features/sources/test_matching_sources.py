"""DeepMatcher's folders and Ditto's files: the same pairs from both, and damaged ones told by file and line."""

from pathlib import Path

import pytest

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.sources import deepmatcher, serialised_pairs

TABLES = {
    "tableA.csv": 'id,name,price\n0,"lg 24, white",10\n1,COL of ships VAL,\n',
    "tableB.csv": "id,name,price\n7,lg 24 white,10.0\n9,,3\n",
    "train.csv": "ltable_id,rtable_id,label\n0,7,1\n1,9,0\n",
    "valid.csv": "ltable_id,rtable_id,label\n0,9,0\n",
    "test.csv": "ltable_id,rtable_id,label\n1,7,0\n",
}

LINES = {
    "train.txt": (
        "COL name VAL lg 24, white COL price VAL 10\tCOL name VAL lg 24 white COL price VAL 10.0\t1\n"
        "COL name VAL COL of ships VAL COL price VAL \tCOL name VAL  COL price VAL 3\t0\n"
    ),
    "valid.txt": "COL name VAL lg 24, white COL price VAL 10\tCOL name VAL  COL price VAL 3\t0\n\n",
    "test.txt": "COL name VAL COL of ships VAL COL price VAL \tCOL name VAL lg 24 white COL price VAL 10.0\t0\r\n",
}


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def told(data: LabelledPairs) -> dict:
    """All pairs of values with their labels, by part."""
    return {
        part: [
            (pairs.left.values.row(left), pairs.right.values.row(right), bool(label))
            for left, right, label in zip(
                pairs.left_rows.tolist(), pairs.right_rows.tolist(), pairs.labels.tolist(), strict=True
            )
        ]
        for part, pairs in data.parts.items()
    }


def test_both_layouts_say_the_same(tmp_path: Path) -> None:
    tables = deepmatcher.load(written(tmp_path, TABLES))
    lines = serialised_pairs.load(written(tmp_path, LINES))
    assert told(tables) == told(lines)
    assert told(lines)["train"][1] == (("COL of ships VAL", ""), ("", "3"), False)
    assert lines.name == tmp_path.name and len(lines.train.left) == len(lines.train.right) == 2


def test_columns_of_the_second_table_are_mapped(tmp_path: Path) -> None:
    files = {**TABLES, "tableB.csv": TABLES["tableB.csv"].replace("name,price", "title,cost")}
    written(tmp_path, files)
    with pytest.raises(InputError, match=r"tells name, price, and .*tableB.csv tells title, cost"):
        deepmatcher.load(tmp_path)
    data = deepmatcher.load(tmp_path, {"name": "title", "price": "cost"})
    assert data.train.right.values.row(0) == ("lg 24 white", "10.0")


def test_a_size_names_other_files(tmp_path: Path) -> None:
    files = {
        "train.txt.small": LINES["train.txt"],
        "valid.txt.small": LINES["valid.txt"],
        "test.txt": LINES["test.txt"],
    }
    data = serialised_pairs.load(written(tmp_path, files), size="small")
    assert data.name.endswith("-small") and len(data.train) == 2
    with pytest.raises(InputError, match=r"there is no file .*train.txt.large"):
        serialised_pairs.load(tmp_path, size="large")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.txt", "COL a VAL b\tCOL a VAL c\n", "line 1 of .*train.txt is not two records and a label"),
        ("train.txt", "COL a VAL b\tCOL a VAL c\t2\n", "line 1 of .*train.txt is not two records and a label"),
        ("train.txt", "\nb\tCOL a VAL c\t1\n", "a record in line 2 of .*train.txt does not begin with"),
        ("train.txt", "COL a VAL b COL a VAL c\tCOL a VAL c\t1\n", "line 1 of .* has the attribute 'a' twice"),
        ("valid.txt", "", "valid.txt is empty"),
        ("test.txt", b"COL a VAL \xff\tCOL a VAL c\t1\n", "test.txt is not UTF-8 text"),
    ],
)
def test_damaged_lines_are_told(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    written(tmp_path, {**LINES, name: text})
    with pytest.raises(InputError, match=message):
        serialised_pairs.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "train.csv",
            "ltable_id,rtable_id,label\n0,8,1\n",
            "train.csv has 1 ids in column 'rtable_id' that .*tableB.csv lacks",
        ),
        ("tableA.csv", "id,name,price\n0,a,1\n0,b,2\n", "tableA.csv has 1 ids that occur more than once, such as 0"),
        ("tableA.csv", "id,name,price\n", "tableA.csv has a header and no row"),
        ("tableB.csv", "name,price\na,1\n", "tableB.csv has no column 'id'"),
        ("test.csv", "ltable_id,rtable_id\n0,7\n", "the pairs for test of .* have no labels"),
        ("tableA.csv", b"id,name,price\n0,\xff,1\n", "tableA.csv"),
    ],
)
def test_damaged_tables_are_told(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    written(tmp_path, {**TABLES, name: text})
    with pytest.raises(InputError, match=message):
        deepmatcher.load(tmp_path)


@pytest.mark.parametrize("source", [deepmatcher, serialised_pairs])
def test_a_folder_that_is_not_there_is_told(source, tmp_path: Path) -> None:
    for root in (None, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="there is no folder"):
            source.load(root)
