"""A folder in the layout of DeepMatcher, as the sets of ER-Magellan are published.

folder/
    tableA.csv     id, and attributes
    tableB.csv     id, and the same attributes
    train.csv      ltable_id, rtable_id, label
    valid.csv
    test.csv
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from features.errors import InputError
from features.ids import integers_if_exact
from features.record_pairs import LabelledPairs, RecordPairs
from features.records import Records
from features.sources.files import read_table

#: parts of a split by what their files are called
PARTS = {"train": "train.csv", "validation": "valid.csv", "test": "test.csv"}


def load(root: Path | None = None, attributes: Mapping[str, str] | None = None) -> LabelledPairs:
    """Two tables, and their labelled pairs.

    Args:
        root: The folder.
        attributes: What the columns of tableA are called in tableB, where they differ.

    Raises:
        InputError: A file that is missing or damaged, or does not fit the others.
    """
    if root is None or not root.is_dir():
        raise InputError(f"there is no folder {root}; the source 'deepmatcher' reads tableA.csv, tableB.csv and others")
    left, right = read_records(root / "tableA.csv"), read_records(root / "tableB.csv", attributes)
    parts = {}
    for part, file in PARTS.items():
        table = read_table(root / file, None)
        parts[part] = RecordPairs.of(left, right, table, str(root / file))
    return LabelledPairs(root.resolve().name, **parts)


def read_records(path: Path, attributes: Mapping[str, str] | None = None, id_column: str = "id") -> Records:
    """A table of records from a CSV or parquet file.

    Args:
        path: The file.
        attributes: See `features.records.Records.of`.
        id_column: Its ids.

    Raises:
        InputError: A file that is missing or damaged, or that is no table of records.
    """
    table = read_table(path, None)
    if id_column in table.columns:
        table = table.with_columns(*integers_if_exact(table[id_column]))
    return Records.of(str(path), table, id_column, attributes)
