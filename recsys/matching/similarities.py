"""How alike the records of pairs are, as a table of numbers: each attribute, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from features.record_pairs import RecordPairs
from features.records import Records
from recsys.blocking.blocker import Encode
from recsys.blocking.terms import TermKind, TermsConfig, TermSpace, paired, texts_of

#: an attribute is compared as a number, too, where so many of its values have one
_NUMERIC = 0.3
#: numbers that differ by less than this share are as good as equal
_EQUAL = 1e-3
#: similarities that deviate by less are the same
_CONSTANT = 1e-6
#: of pairs whose vectors are compared at a time
_CHUNK = 1 << 16
_KINDS: tuple[TermKind, ...] = ("characters", "words")


@dataclass(frozen=True, eq=False)
class Similarities:
    """F similarities of m pairs.

    Args:
        names: "characters" and "words" of all that is told, "vectors" where a bi-encoder reads it, then
            "title characters" and the like. (F,)
        values: More is more alike; NaN where one record says nothing. (m, F) float32
    """

    names: tuple[str, ...]
    values: np.ndarray


class Comparison:
    """Compares records: cosines of n-grams of characters and of words by TF-IDF, and by what share numbers differ.

    Args:
        tables: Records whose words say what a word is worth; those of one attribute that are numbers say that it has
            numbers.
        encode: A bi-encoder, whose vectors are compared, too.

    Example:
        >>> shop = Records.of("shop", pl.DataFrame({"id": [1, 2], "title": ["Rose soap", "Ink"], "price": [2.5, None]}))
        >>> found = Comparison(shop).similarities(RecordPairs(shop, shop, np.array([0, 0]), np.array([0, 1])))
        >>> dict(zip(found.names, found.values.round(2).T.tolist(), strict=True))["price number"]
        [6.91, nan]
    """

    def __init__(self, *tables: Records, encode: Encode | None = None) -> None:
        self._tables, self._encode = tuple(dict.fromkeys(tables)), encode
        self._spaces: dict[tuple[str, tuple[str, ...]], TermSpace] = {}

    @cached_property
    def numeric(self) -> list[str]:
        """Attributes that are compared as numbers, too."""
        attributes = self._tables[0].attributes
        shares = {one: [np.isfinite(_numbers(table, one)).mean() for table in self._tables] for one in attributes}
        return [one for one in attributes if min(shares[one]) >= _NUMERIC]

    def warm(self) -> None:
        """Makes what a first comparison would otherwise wait for."""
        rows = np.zeros(1, np.int64)
        self.similarities(RecordPairs(self._tables[0], self._tables[0], rows, rows))

    def similarities(self, pairs: RecordPairs) -> Similarities:
        """Compares the records of pairs. (m pairs)"""
        vectors = {} if self._encode is None else {"vectors": _cosines(pairs, self._encode)}
        pairs = pairs.narrowed()
        attributes = pairs.left.attributes
        found = {kind: self._alike(pairs, kind, ()) for kind in _KINDS} | vectors
        for attribute in attributes if len(attributes) > 1 else ():
            said = [(table.values[attribute] != "").to_numpy()[rows] for table, rows in _sides(pairs)]
            for kind in _KINDS:
                alike = self._alike(pairs, kind, (attribute,))
                found[f"{attribute} {kind}"] = np.where(said[0] & said[1], alike, np.nan)
        for attribute in self.numeric:
            found[f"{attribute} number"] = _near(*(_numbers(table, attribute)[rows] for table, rows in _sides(pairs)))
        return Similarities(tuple(found), np.stack(list(found.values()), axis=1).astype(np.float32))

    def _alike(self, pairs: RecordPairs, kind: TermKind, attributes: tuple[str, ...]) -> np.ndarray:
        """The cosine of the terms of each pair. (m,)"""
        if (kind, attributes) not in self._spaces:
            texts = (texts_of(one.values, attributes) for one in self._tables)
            self._spaces[kind, attributes] = TermSpace(TermsConfig(kind), *texts)
        space = self._spaces[kind, attributes]
        left = space.vectors(texts_of(pairs.left.values, attributes))
        right = left if pairs.right is pairs.left else space.vectors(texts_of(pairs.right.values, attributes))
        return paired(left, right, (pairs.left_rows, pairs.right_rows))


def scale_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `on_scale` takes: the mean of what is told, and the deviation where nothing said counts as the mean.

    The deviation of what never differs is 1: what differs elsewhere is not worth more for that.

    Args:
        values: Of `Similarities`. (m, F)

    Returns:
        (F,), (F,) float64
    """
    known = ~np.isnan(values)
    means = np.where(known, values, 0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
    deviations = np.where(known, values, means).std(axis=0)
    return means, np.where(deviations > _CONSTANT, deviations, 1.0)


def on_scale(values: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Similarities of mean 0 and deviation 1; what is not told is 0. (m, F) -> (m, F) float64"""
    return (np.where(np.isnan(values), means, values.astype(np.float64)) - means) / deviations


def _sides(pairs: RecordPairs) -> tuple[tuple[Records, np.ndarray], tuple[Records, np.ndarray]]:
    return (pairs.left, pairs.left_rows), (pairs.right, pairs.right_rows)


def _cosines(pairs: RecordPairs, encode: Encode) -> np.ndarray:
    """Of the vectors of both records. (m,)"""
    vectors = [encode(table) for table in dict.fromkeys((pairs.left, pairs.right))]
    vectors = [one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in vectors]
    found = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), _CHUNK):
        part = slice(start, start + _CHUNK)
        one, other = vectors[0][pairs.left_rows[part]], vectors[-1][pairs.right_rows[part]]
        found[part] = np.einsum("md,md->m", one, other)
    return found


def _numbers(records: Records, attribute: str) -> np.ndarray:
    """The first number of each value, NaN where there is none. (n,)"""
    digits = records.values[attribute].str.replace_all(",", "").str.extract(r"(\d+(?:\.\d+)?)")
    return digits.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()


def _near(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The logarithm of by what share two numbers differ, the sign turned. (m,)"""
    share = np.abs(one - other) / np.maximum(np.maximum(np.abs(one), np.abs(other)), 1e-9)
    return -np.log(share + _EQUAL)
