"""Pairs of records with labels, in three parts: what a matcher is trained, chosen and tested with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from features.digest import sha256_of
from features.errors import InputError
from features.record_pairs import RecordPairs


@dataclass(frozen=True, eq=False)
class LabelledPairs:
    """What a matcher is trained, chosen and tested with.

    Args:
        name: Of the data set.
        train: (some pairs)
        validation: (some pairs)
        test: (some pairs)
        judged_by: Which matcher has said so, where labels are not what people know.

    Raises:
        InputError: A part without a pair, or without a label.
    """

    name: str
    train: RecordPairs
    validation: RecordPairs
    test: RecordPairs
    judged_by: str = ""

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
            row = other.arg_true()[0]
            raise InputError(
                f"{table} has {int(other.sum()):,} values in column 'part' that are neither train, validation nor "
                f"test, such as {part[row]!r} in row {row + 1}"
            )
        parts = ("train", "validation", "test")
        train, validation, test = (pairs.take(np.flatnonzero((said == one).to_numpy())) for one in parts)
        found = cls(name, train, validation, test)
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
            InputError: Shares that cannot be, too few pairs for them, or pairs without labels.
        """
        if pairs.labels is None:
            raise InputError(f"the pairs of {name} have no labels")
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
        drawn = {part: pairs.take(np.sort(np.concatenate(some))) for part, some in found.items()}
        return cls(name, drawn["train"], drawn["validation"], drawn["test"])

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
        told = (
            f"{len(pairs):,} {part} ({int(pairs.labels.sum()):,} the same)"
            for part, pairs in self.parts.items()
            if pairs.labels is not None
        )
        return f"LabelledPairs({self.name!r}: {', '.join(told)})"
