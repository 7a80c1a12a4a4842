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
from features.labelled_pairs import LabelledPairs
from features.sources.record_tables import read_pairs, read_records

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
    parts = {part: read_pairs([root / file], left, right) for part, file in PARTS.items()}
    return LabelledPairs(root.resolve().name, parts["train"], parts["validation"], parts["test"])
