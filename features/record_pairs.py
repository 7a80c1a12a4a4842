"""Pairs of records that may be the same thing, with labels or without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.errors import InputError
from features.ids import canonical_ids
from features.records import Records, check_columns


@dataclass(frozen=True, eq=False)
class RecordPairs:
    """m pairs of records, and which of them are the same thing, if that is known.

    Args:
        left: One table.
        right: The other one, or the same.
        left_rows: (m,) int64
        right_rows: (m,) int64
        labels: Whether both are the same thing. (m,) bool
        chances: How likely that is, in [0, 1], where somebody has said so. (m,) float32
    """

    left: Records
    right: Records
    left_rows: np.ndarray
    right_rows: np.ndarray
    labels: np.ndarray | None = None
    chances: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.left.attributes != self.right.attributes:
            mine, other = (", ".join(one.attributes) for one in (self.left, self.right))
            raise InputError(
                f"{self.left.name} tells {mine}, and {self.right.name} tells {other}: records of both are compared "
                "attribute by attribute, so map the columns of one to those of the other"
            )

    @classmethod
    def of(
        cls,
        left: Records,
        right: Records,
        table: pl.DataFrame,
        name: str = "the pairs",
        columns: tuple[str, str] = ("ltable_id", "rtable_id"),
        label: str = "label",
    ) -> RecordPairs:
        """Reads a table of pairs.

        Args:
            left: One table.
            right: The other one, or the same.
            table: One row a pair. (m rows)
            name: What errors call it.
            columns: Of the ids of both.
            label: Its column of labels, 0 or 1; pairs of a table without it have none.

        Raises:
            InputError: A column that is not there, an id that its table lacks, a label other than 0 and 1 (or no and
                yes), or one pair with two labels.
        """
        check_columns(name, table, columns)
        rows = []
        for column, side in zip(columns, (left, right), strict=True):
            found = side.rows(canonical_ids(table[column], column))
            missing = np.flatnonzero(found < 0)
            if len(missing):
                raise InputError(
                    f"{name} has {len(missing):,} ids in column {column!r} that {side.name} lacks, such as "
                    f"{table[column][int(missing[0])]!r} in row {missing[0] + 1}"
                )
            rows.append(found)
        if label not in table.columns:
            return cls(left, right, *rows)
        left_rows, right_rows = rows
        labels = _labels(name, table[label])
        pairs = cls(left, right, left_rows, right_rows, labels)
        _check_one_label(name, pairs, labels)
        return pairs

    def __len__(self) -> int:
        return len(self.left_rows)

    def __repr__(self) -> str:
        known = "" if self.labels is None else f", {int(self.labels.sum()):,} of them the same"
        return f"RecordPairs({len(self):,} of {self.left.name!r} and {self.right.name!r}{known})"

    def take(self, places: np.ndarray | list[int]) -> RecordPairs:
        """Some of the pairs, in the given order. (k,) -> k pairs"""
        told = (None if one is None else one[places] for one in (self.labels, self.chances))
        return RecordPairs(self.left, self.right, self.left_rows[places], self.right_rows[places], *told)

    def narrowed(self) -> RecordPairs:
        """The same pairs, of tables without the records that are in none of them."""
        one_table = self.right is self.left
        sides = [self.left_rows, self.right_rows]
        known = [np.unique(np.concatenate(sides))] * 2 if one_table else [np.unique(rows) for rows in sides]
        left = self.left.take(known[0])
        right = left if one_table else self.right.take(known[1])
        left_rows, right_rows = (np.searchsorted(all_rows, some) for all_rows, some in zip(known, sides, strict=True))
        return RecordPairs(left, right, left_rows, right_rows, self.labels, self.chances)

    def codes(self) -> np.ndarray:
        """A number a pair, the same for the same pair; of one table, whichever way round it is. (m,) int64"""
        ids = np.stack([self.left_rows, self.right_rows])
        if self.left is self.right:
            ids.sort(axis=0)
        return ids[0] * len(self.right) + ids[1]

    def frame(self) -> pl.DataFrame:
        """The ids of both, and the labels if they are known. (m rows)"""
        frame = pl.DataFrame({"left_id": self.left.ids[self.left_rows], "right_id": self.right.ids[self.right_rows]})
        return frame if self.labels is None else frame.with_columns(label=pl.Series(self.labels).cast(pl.Int8))


def _labels(name: str, labels: pl.Series) -> np.ndarray:
    """0 and 1, or no and yes, however they are written, as bool. (m,)"""
    written = labels.cast(pl.String).str.strip_chars().str.to_lowercase()
    yes, no = written.is_in(["1", "1.0", "true", "yes", "y"]), written.is_in(["0", "0.0", "false", "no", "n"])
    bad = ~(yes | no).fill_null(False)
    if bad.any():
        row = bad.arg_true()[0]
        raise InputError(
            f"{name} has {int(bad.sum()):,} labels in column {labels.name!r} that are neither 0 nor 1 (nor no and "
            f"yes), such as {labels[row]!r} in row {row + 1}"
        )
    return yes.to_numpy()


def _check_one_label(name: str, pairs: RecordPairs, labels: np.ndarray) -> None:
    codes = pairs.codes()
    both = np.intersect1d(codes[labels], codes[~labels])
    if len(both):
        left, right = pairs.frame().row(int(np.flatnonzero(codes == both[0])[0]))[:2]
        raise InputError(f"{name} labels the pair {left!r} and {right!r} both 0 and 1")
