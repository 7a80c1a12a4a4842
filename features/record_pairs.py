"""Pairs of records that may be the same thing, and what somebody has said of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from features.digest import sha256_of
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
    """

    left: Records
    right: Records
    left_rows: np.ndarray
    right_rows: np.ndarray
    labels: np.ndarray | None = None

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
            InputError: A column that is not there, an id that its table lacks, a label other than 0 and 1, or one pair
                with two labels.
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
        pairs = cls(left, right, *rows, _labels(name, table[label]))
        _check_one_label(name, pairs)
        return pairs

    def __len__(self) -> int:
        return len(self.left_rows)

    def __repr__(self) -> str:
        known = "" if self.labels is None else f", {int(self.labels.sum()):,} of them the same"
        return f"RecordPairs({len(self):,} of {self.left.name!r} and {self.right.name!r}{known})"

    def take(self, places: np.ndarray) -> RecordPairs:
        """Some of the pairs, in the given order. (k,) -> k pairs"""
        labels = None if self.labels is None else self.labels[places]
        return RecordPairs(self.left, self.right, self.left_rows[places], self.right_rows[places], labels)

    def narrowed(self) -> RecordPairs:
        """The same pairs, of tables without the records that are in none of them."""
        one_table = self.right is self.left
        sides = [self.left_rows, self.right_rows]
        known = [np.unique(np.concatenate(sides))] * 2 if one_table else [np.unique(rows) for rows in sides]
        left = self.left.take(known[0])
        right = left if one_table else self.right.take(known[1])
        rows = (np.searchsorted(all_rows, some) for all_rows, some in zip(known, sides, strict=True))
        return RecordPairs(left, right, *rows, self.labels)

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


@dataclass(frozen=True, eq=False)
class LabelledPairs:
    """What a matcher is trained, chosen and tested with.

    Args:
        name: Of the data set.
        train: (some pairs)
        validation: (some pairs)
        test: (some pairs)

    Raises:
        InputError: A part without a pair, or without a label.
    """

    name: str
    train: RecordPairs
    validation: RecordPairs
    test: RecordPairs

    def __post_init__(self) -> None:
        for part, pairs in self.parts.items():
            if not len(pairs):
                raise InputError(f"{self.name} has no pair for {part}")
            if pairs.labels is None:
                raise InputError(f"the pairs for {part} of {self.name} have no labels")

    @classmethod
    def given(cls, name: str, pairs: RecordPairs, part: pl.Series, table: str = "the pairs") -> LabelledPairs:
        """The parts that somebody has said.

        Args:
            name: Of the data set.
            pairs: With labels. (m pairs)
            part: "train", "validation" or "test" of each. (m,)
            table: What errors call it.

        Raises:
            InputError: Another part, one without a pair, or a pair that is in two.
        """
        said = part.cast(pl.String).str.strip_chars().str.to_lowercase().replace("valid", "validation").fill_null("")
        other = ~said.is_in(["train", "validation", "test"])
        if other.any():
            row = int(other.arg_max())
            raise InputError(
                f"{table} has {int(other.sum()):,} values in column 'part' that are neither train, validation nor "
                f"test, such as {part[row]!r} in row {row + 1}"
            )
        places = {one: np.flatnonzero((said == one).to_numpy()) for one in ("train", "validation", "test")}
        found = cls(name, **{one: pairs.take(rows) for one, rows in places.items()})
        told: dict[int, str] = {}
        for one, some in found.parts.items():
            for place, code in enumerate(some.codes().tolist()):
                if told.setdefault(code, one) != one:
                    left, right = some.frame().row(place)[:2]
                    raise InputError(
                        f"{table} has the pair {left!r} and {right!r} in two parts, {told[code]} and {one}: what is "
                        "tested must not be learned from"
                    )
        return found

    @classmethod
    def drawn(
        cls, name: str, pairs: RecordPairs, validation: float = 0.2, test: float = 0.2, seed: int = 0
    ) -> LabelledPairs:
        """Parts that are drawn, with as many of each label as there are in all; a pair that occurs twice counts once.

        Args:
            name: Of the data set.
            pairs: With labels. (m pairs)
            validation: Share of the pairs.
            test: Share of the pairs.
            seed: Of the draw.

        Raises:
            InputError: Shares that cannot be, or too few pairs for them.
        """
        if min(validation, test) <= 0 or validation + test >= 1:
            raise InputError(
                f"validation is {validation:g} and test {test:g}: both are shares above 0, and less than 1 together"
            )
        random = np.random.default_rng(seed)
        found: dict[str, list[np.ndarray]] = {"test": [], "validation": [], "train": []}
        first = np.unique(pairs.codes(), return_index=True)[1]
        for label in (False, True):
            rows = random.permutation(np.sort(first[pairs.labels[first] == label]))
            n, m = round(test * len(rows)), round((test + validation) * len(rows))
            for part, some in zip(found, np.split(rows, [n, m]), strict=True):
                found[part].append(some)
        return cls(name, **{part: pairs.take(np.sort(np.concatenate(some))) for part, some in found.items()})

    @cached_property
    def sha256(self) -> str:
        """Of both tables: of what is told of each record."""
        sides = (self.train.left, self.train.right)
        return sha256_of(*[one for side in sides for one in (side.ids, side.values)])

    @cached_property
    def split_sha256(self) -> str:
        """Of the pairs of each part, and their labels."""
        return sha256_of(*[one.frame() for one in self.parts.values()])

    @property
    def parts(self) -> dict[str, RecordPairs]:
        """Each part by its name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def __repr__(self) -> str:
        told = (f"{len(pairs):,} {part} ({int(pairs.labels.sum()):,} the same)" for part, pairs in self.parts.items())
        return f"LabelledPairs({self.name!r}: {', '.join(told)})"


def _labels(name: str, labels: pl.Series) -> np.ndarray:
    """0 and 1, however they are written, as bool. (m,)"""
    written = labels.cast(pl.String).str.strip_chars().str.to_lowercase()
    yes, no = written.is_in(["1", "1.0", "true"]), written.is_in(["0", "0.0", "false"])
    bad = ~(yes | no).fill_null(False)
    if bad.any():
        row = int(bad.arg_max())
        raise InputError(
            f"{name} has {int(bad.sum()):,} labels in column {labels.name!r} that are neither 0 nor 1, such as "
            f"{labels[row]!r} in row {row + 1}"
        )
    return yes.to_numpy()


def _check_one_label(name: str, pairs: RecordPairs) -> None:
    codes = pairs.codes()
    both = np.intersect1d(codes[pairs.labels], codes[~pairs.labels])
    if len(both):
        left, right = pairs.frame().row(int(np.flatnonzero(codes == both[0])[0]))[:2]
        raise InputError(f"{name} labels the pair {left!r} and {right!r} both 0 and 1")
