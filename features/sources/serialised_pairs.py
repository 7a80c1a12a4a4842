"""Ditto's files: a line a pair, both records as `COL name VAL value COL name ...`, then the label, by tabs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records
from features.sources.files import read_lines

#: where an attribute begins
_BEGINS = re.compile(r"(?:^|\s)COL\s+(\S+)\s+VAL(?=\s|$)")


def load(root: Path | None = None, size: str = "") -> LabelledPairs:
    """A folder with train.txt, valid.txt and test.txt.

    These files have no ids: records of the same words are one, and their ids are numbers in the order of the files.

    Args:
        root: The folder.
        size: What the names of the training and validation files end in besides, such as "small" for train.txt.small.

    Raises:
        InputError: A file that is missing or not text, or a line (by number) that is no pair.
    """
    if root is None or not root.is_dir():
        raise InputError(f"there is no folder {root}; the source 'serialised-pairs' reads train.txt and others there")
    more = f".{size}" if size else ""
    files = {"train": f"train.txt{more}", "validation": f"valid.txt{more}", "test": "test.txt"}
    read = {part: _read(root / file) for part, file in files.items()}
    sides = [[record for lines in read.values() for record in lines[side]] for side in (0, 1)]
    names = list(dict.fromkeys(name for side in sides for record in side for name in record))
    left, right = (
        _numbered(f"the {which} records of {root}", side, names)
        for which, side in zip(("left", "right"), sides, strict=True)
    )
    parts, start = {}, 0
    for part, (lefts, _, labels) in read.items():
        places = slice(start, start + len(lefts))
        parts[part] = RecordPairs(left[0], right[0], left[1][places], right[1][places], labels)
        start = places.stop
    return LabelledPairs(
        root.resolve().name + (f"-{size}" if size else ""), parts["train"], parts["validation"], parts["test"]
    )


def parse_record(text: str) -> dict[str, str]:
    """The attributes of a serialised record.

    Raises:
        InputError: It does not begin with `COL name VAL`, or names an attribute twice.

    Example:
        >>> parse_record("COL name VAL lg 24 ' dishwasher COL price VAL ")
        {'name': "lg 24 ' dishwasher", 'price': ''}
    """
    begins = list(_BEGINS.finditer(text))
    if not begins or text[: begins[0].start()].strip():
        raise InputError(f"does not begin with 'COL name VAL': {text[:60]!r}")
    ends = [*(one.start() for one in begins[1:]), len(text)]
    record: dict[str, str] = {}
    for one, end in zip(begins, ends, strict=True):
        if one[1] in record:
            raise InputError(f"has the attribute {one[1]!r} twice: {text[:60]!r}")
        record[one[1]] = text[one.end() : end].strip()
    return record


def _read(path: Path) -> tuple[list[dict[str, str]], list[dict[str, str]], np.ndarray]:
    """The records of both sides, and the labels, of each line. (m,) each"""
    left, right, labels = [], [], []
    for number, line in read_lines(path).iter_rows():
        fields = line.rstrip("\r").split("\t")
        if len(fields) != 3 or fields[2].strip() not in ("0", "1"):
            raise InputError(f"line {number} of {path} is not two records and a label of 0 or 1 by tabs: {line[:60]!r}")
        try:
            left.append(parse_record(fields[0]))
            right.append(parse_record(fields[1]))
        except InputError as error:
            raise InputError(f"a record in line {number} of {path} {error}") from None
        labels.append(fields[2].strip() == "1")
    return left, right, np.array(labels, dtype=bool)


def _numbered(name: str, records: list[dict[str, str]], attributes: list[str]) -> tuple[Records, np.ndarray]:
    """The different records, and which of them each one is. (m,) -> (n,), (m,)"""
    table = pl.DataFrame({one: [record.get(one, "") for record in records] for one in attributes})
    different = table.unique(maintain_order=True).with_row_index("id").cast({"id": pl.Int64})
    rows = table.join(different, on=attributes, how="left", maintain_order="left")["id"].to_numpy()
    return Records.of(name, different, attributes=attributes), rows
