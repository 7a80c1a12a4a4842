"""Two tables of records, and a table of pairs that somebody has labelled.

The tables may have other columns: `left_columns` and `right_columns` say which stands for which attribute. A column
`part` of the pairs, with train, validation and test, splits them; without one they are drawn, as many of each label.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from features.errors import InputError
from features.ids import integers_if_exact
from features.record_pairs import LabelledPairs, RecordPairs
from features.records import Records
from features.sources.files import read_table

#: what the columns of ids may be called: as this project writes them, and as DeepMatcher does
_IDS = (("left_id", "right_id"), ("ltable_id", "rtable_id"))


def load(
    root: Path | None = None,
    left: str = "left.csv",
    right: str = "",
    pairs: str = "pairs.csv",
    left_id: str = "id",
    right_id: str = "id",
    left_columns: Mapping[str, str] | None = None,
    right_columns: Mapping[str, str] | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> LabelledPairs:
    """Two tables, or one that is compared with itself, and labelled pairs.

    Args:
        root: The folder that the names of files begin from.
        left: One table, CSV or parquet.
        right: The other one; the same where not given.
        pairs: Columns left_id, right_id and label (0 or 1).
        left_id: Column of ids.
        right_id: Column of ids.
        left_columns: Attributes, in the order in which they are told, each with the column that says it; all columns
            under their own names where not given.
        right_columns: Of the other table; those of the left one where it is the same table.
        validation: Share of the pairs, where they have no column `part`.
        test: Share of the pairs.
        seed: Of the draw.

    Raises:
        InputError: A file that is missing or damaged, or does not fit the others.
    """
    here = root or Path()
    one = read_records(here / left, left_columns, left_id)
    other = one if not right or right == left else read_records(here / right, right_columns, right_id)
    return read_labelled(here / pairs, one, other, validation, test, seed)


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


def read_pairs(path: Path, left: Records, right: Records) -> RecordPairs:
    """A table of pairs from a CSV or parquet file, with their labels if it has any.

    Args:
        path: The file.
        left: One table of records.
        right: The other one, or the same.

    Raises:
        InputError: A file that is missing or damaged, or does not fit the tables.
    """
    table = read_table(path, None)
    ids = next((ids for ids in _IDS if set(ids) <= set(table.columns)), _IDS[0])
    return RecordPairs.of(left, right, table, str(path), ids)


def read_labelled(
    path: Path, left: Records, right: Records, validation: float = 0.2, test: float = 0.2, seed: int = 0
) -> LabelledPairs:
    """Labelled pairs in three parts: see `load`.

    Raises:
        InputError: A file that is missing or damaged, or does not fit the tables, or pairs without labels.
    """
    pairs = read_pairs(path, left, right)
    if pairs.labels is None:
        raise InputError(f"{path} has no column 'label'; it says of each pair whether both are the same thing (0 or 1)")
    table = read_table(path, None)
    if "part" in table.columns:
        return LabelledPairs.given(path.stem, pairs, table["part"], str(path))
    return LabelledPairs.drawn(path.stem, pairs, validation, test, seed)
