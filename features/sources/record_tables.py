"""Two tables of records, and a table of pairs that somebody has labelled.

The tables may have other columns: `left_columns` and `right_columns` say which stands for which attribute. A column
`part` of the pairs, with train, validation and test, splits them; without one they are drawn, as many of each label.
Pairs may come in several tables: where one says parts, those of others are for training. A pair whose label is empty is
one that nobody has labelled yet. `pairs_columns` says which columns of theirs stand for left_id, right_id and label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from features.errors import InputError
from features.ids import integers_if_exact
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records, check_columns
from features.sources.files import columns_of, read_table

#: what the columns of ids may be called: as this project writes them, and as DeepMatcher does
_IDS = (("left_id", "right_id"), ("ltable_id", "rtable_id"))

#: what is read of a table of pairs
PAIR_COLUMNS = ("left_id", "right_id", "label", "part")


def load(
    root: Path | None = None,
    left: str = "left.csv",
    right: str = "",
    pairs: str | list = "pairs.csv",
    left_id: str = "id",
    right_id: str = "id",
    left_columns: Mapping[str, str] | None = None,
    right_columns: Mapping[str, str] | None = None,
    pairs_columns: Mapping[str, str] | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> LabelledPairs:
    """Two tables, or one that is compared with itself, and labelled pairs.

    Args:
        root: The folder that the names of files begin from.
        left: One table, CSV or parquet.
        right: The other one; the same where not given.
        pairs: Columns left_id, right_id and label (0 or 1); one file, or several.
        left_id: Column of ids.
        right_id: Column of ids.
        left_columns: Attributes, in the order in which they are told, each with the column that says it; all columns
            under their own names where not given.
        right_columns: Of the other table; attributes that it does not name are told by columns that are called so.
        pairs_columns: See `read_pairs`.
        validation: Share of the pairs, where they have no column `part`.
        test: Share of the pairs.
        seed: Of the draw.

    Raises:
        InputError: A file that is missing or damaged, or does not fit the others.
    """
    here = root or Path()
    one = read_records(here / left, left_columns, left_id)
    other = one
    if right and right != left:
        if right_columns:
            right_columns = told_columns(right_columns, one.attributes, "right_columns")
        other = read_records(here / right, right_columns, right_id, like=one)
    elif right_columns or right_id not in ("id", left_id):
        raise InputError("right_id and right_columns are of a right table, and none is named")
    files = [here / file for file in ([pairs] if isinstance(pairs, str) else pairs)]
    return read_labelled(files, one, other, validation, test, seed, pairs_columns)


def told_columns(columns: Mapping[str, str], attributes: Sequence[str], option: str) -> dict[str, str]:
    """Attributes, in their order, with the columns that say them; what is not mapped is called as it is.

    Args:
        columns: Of some attributes.
        attributes: All of them.
        option: What errors call the mapping.

    Raises:
        InputError: A mapping of something else.
    """
    if other := next((one for one in columns if one not in attributes), None):
        raise InputError(
            f"{option} has the attribute {other!r}, and what is told of records is {', '.join(attributes)}"
        )
    return {one: columns.get(one, one) for one in attributes}


def read_records(
    path: Path,
    attributes: Mapping[str, str] | None = None,
    id_column: str = "id",
    like: Records | None = None,
    untold: Sequence[str] = (),
) -> Records:
    """A table of records from a CSV or parquet file.

    Args:
        path: The file.
        attributes: See `features.records.Records.of`.
        id_column: Its ids.
        like: Where nothing is said of attributes, those of these records, if the columns are called so.
        untold: Attributes that may have no column.

    Raises:
        InputError: A file that is missing or damaged, or that is no table of records.
    """
    table = read_table(path, None)
    if attributes is None and like is not None and set(like.attributes) <= set(table.columns):
        attributes = {one: one for one in like.attributes}
    if id_column in table.columns:
        table = table.with_columns(*integers_if_exact(table[id_column]))
    return Records.of(str(path), table, id_column, attributes, untold)


def read_pairs(
    paths: Sequence[Path],
    left: Records,
    right: Records,
    labelled: bool = False,
    columns: Mapping[str, str] | None = None,
) -> RecordPairs:
    """Tables of pairs from CSV or parquet files, one after the other, with their labels if all have one.

    Args:
        paths: The files.
        left: One table of records.
        right: The other one, or the same.
        labelled: Only those that have a label.
        columns: What stands for left_id, right_id, label and part, where it is called otherwise; of several files,
            those that have none of these columns are read as they are.

    Raises:
        InputError: A file that is missing or damaged, or does not fit the tables.
    """
    return _joined([_read(path, table, left, right, labelled)[0] for path, table in _tables(paths, columns)])


def read_labelled(
    paths: Sequence[Path],
    left: Records,
    right: Records,
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
) -> LabelledPairs:
    """Labelled pairs in three parts: see `load`.

    Raises:
        InputError: A file that is missing or damaged, or does not fit the tables, or pairs without labels.
    """
    found = []
    for path, one in _tables(paths, columns):
        found.append(_read(path, one, left, right, labelled=True))
        if "label" not in one.columns:
            raise InputError(
                f"{path} has no column 'label', which says whether both are the same thing (0 or 1); its columns are "
                f"{', '.join(columns_of(path))}"
            )
        if found[-1][0].labels is None:
            raise InputError(f"{path} has no label: its column {(columns or {}).get('label', 'label')!r} is empty")
    pairs, parts = _joined([one for one, _ in found]), [part for _, part in found]
    name, table = paths[0].stem, ", ".join(map(str, paths))
    if all(part is None for part in parts):
        return LabelledPairs.drawn(name, pairs, validation, test, seed)
    told = [pl.repeat("train", len(one), eager=True) if part is None else part.cast(pl.String) for one, part in found]
    return LabelledPairs.given(name, pairs, pl.concat(told), table)


def label_column(path: Path, columns: Mapping[str, str] | None = None) -> str | None:
    """What a table of pairs calls its labels; None where it has no column of them.

    Raises:
        InputError: A file that is missing or damaged, or that lacks what is mapped.
    """
    ((_, table),) = _tables([path], columns)
    return (columns or {}).get("label", "label") if "label" in table.columns else None


def _tables(paths: Sequence[Path], columns: Mapping[str, str] | None) -> list[tuple[Path, pl.DataFrame]]:
    """Tables of pairs, with their columns as this project calls them."""
    columns = dict(columns or {})
    if other := next((one for one in columns if one not in PAIR_COLUMNS), None):
        raise InputError(f"pairs_columns has {other!r}, and what is read of pairs is {', '.join(PAIR_COLUMNS)}")
    found = [(path, read_table(path, None)) for path in paths]
    # of several, those that this project has written itself are called as it calls them
    meant = [bool(set(columns.values()) & set(table.columns)) for _, table in found]
    if not any(meant):
        meant = [True] * len(found)
    return [
        (path, _renamed(path, one, columns) if some else one) for (path, one), some in zip(found, meant, strict=True)
    ]


def _renamed(path: Path, table: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """With the names that columns are to have, in the place of others that are called so."""
    for name, column in columns.items():
        if column not in table.columns:
            its = ", ".join(table.columns)
            raise InputError(f"{path} has no column {column!r} (for {name}); its columns are {its}")
    rest = [one for one in table.columns if one not in {*columns, *columns.values()}]
    return table.select(*(pl.col(column).alias(name) for name, column in columns.items()), *rest)


def _read(
    path: Path, table: pl.DataFrame, left: Records, right: Records, labelled: bool
) -> tuple[RecordPairs, pl.Series | None]:
    """The pairs of a table, and the part of each if it says that."""
    ids = next((ids for ids in _IDS if set(ids) <= set(table.columns)), _IDS[0])
    check_columns(str(path), table, ids)
    if "label" in table.columns:
        there = table["label"].cast(pl.String).str.strip_chars().fill_null("") != ""
        if labelled and there.any():
            table = table.filter(there)
        elif not there.all():
            table = table.drop("label")
    pairs = RecordPairs.of(left, right, table, str(path), ids)
    return pairs, table["part"] if "part" in table.columns else None


def _joined(several: Sequence[RecordPairs]) -> RecordPairs:
    """Pairs of the same tables, one after the other; with labels if all have them."""
    first = several[0]
    left, right = (np.concatenate([getattr(one, side) for one in several]) for side in ("left_rows", "right_rows"))
    labels = [one.labels for one in several if one.labels is not None]
    known = np.concatenate(labels) if len(labels) == len(several) else None
    return RecordPairs(first.left, first.right, left, right, known)
