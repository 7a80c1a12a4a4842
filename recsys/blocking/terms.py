"""Records as weighted terms: n-grams of their characters, or their words, by TF-IDF, as rows of a sparse matrix.

What stands in few records says most of those (Spärck Jones, 1972). N-grams of characters still agree where a word is
misspelled, or a product code is written with a hyphen; they are what blockers of messy text do best with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from scipy import sparse

from features.errors import InputError
from features.hashing import string_keys

#: a character's bits: no code point has more, so that three of them are one number of 63 bits
_BITS = 21
#: numbers of the rows of pairs that are held at a time, on either side
_HELD = 1 << 22
#: characters of texts whose terms are held at a time
_CHARACTERS = 1 << 22


TermKind = Literal["characters", "words"]


@dataclass(frozen=True)
class TermsConfig:
    """What a record's terms are.

    Args:
        kind: "characters": n-grams of them, across words; "words": runs of letters and digits.
        size: n, 1 to 3; of characters.
    """

    kind: TermKind = "characters"
    size: int = 3

    def __post_init__(self) -> None:
        if self.kind not in ("characters", "words"):
            raise InputError(f"terms are 'characters' or 'words', not {self.kind!r}")
        if not 1 <= self.size <= 3:
            raise InputError(f"n-grams have 1 to 3 characters, got size {self.size}")


class TermSpace:
    """The terms of some tables, and what each is worth: log((n + 1) / m), where m of n records have it.

    Args:
        config: What a term is.
        texts: All that is told of each record: a column a table.

    Example:
        >>> shop, other = pl.Series(["rose soap", "ink"]), pl.Series(["soap (rose)", "pink lamp"])
        >>> space = TermSpace(TermsConfig(), shop, other)
        >>> (space.vectors(shop) @ space.vectors(other).T).toarray().argmax(axis=1).tolist()
        [0, 1]
    """

    def __init__(self, config: TermsConfig, *texts: pl.Series) -> None:
        self.config = config
        self._codes, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for one in texts:
            for start, end in parts(_lengths(one), _CHARACTERS):
                codes, held = np.unique(_terms(one[start:end], config)[0], return_counts=True)
                self._codes, place = np.unique(np.concatenate([self._codes, codes]), return_inverse=True)
                counts = np.bincount(place, np.concatenate([counts, held])).astype(np.int64)
        n = sum(map(len, texts))
        self._worth = np.log((n + 1) / counts).astype(np.float32)

    def __len__(self) -> int:
        return len(self._codes)

    def vectors(self, texts: pl.Series) -> sparse.csr_matrix:
        """Records as vectors of length 1, or 0 where nothing is told; terms that are not of this space are left out.

        Args:
            texts: (n,) String

        Returns:
            (n, terms) float32
        """
        found = [self._vectors(texts[start:end]) for start, end in parts(_lengths(texts), _CHARACTERS)]
        return sparse.vstack(found, format="csr") if len(found) > 1 else found[0] if found else self._vectors(texts)

    def _vectors(self, texts: pl.Series) -> sparse.csr_matrix:
        codes, counts, rows = _terms(texts, self.config)
        place = np.searchsorted(self._codes, codes)
        known = place < len(self._codes)
        known[known] = self._codes[place[known]] == codes[known]
        place, rows = place[known], rows[known]
        weights = np.log1p(counts[known]).astype(np.float32) * self._worth[place]
        lengths = np.sqrt(np.bincount(rows, weights.astype(np.float64) ** 2, len(texts)))
        weights /= np.maximum(lengths, 1e-12)[rows].astype(np.float32)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(texts)))])
        return sparse.csr_matrix((weights, place, offsets), shape=(len(texts), len(self)))


def texts_of(values: pl.DataFrame, attributes: Sequence[str] = ()) -> pl.Series:
    """What is told of each record, in one string: lower case, without accents, a space between words.

    Args:
        values: A column an attribute. (n rows) String
        attributes: Which; all, where none is named.

    Example:
        >>> texts_of(pl.DataFrame({"title": ["Café  au lait"], "size": ["250 ML"]})).to_list()
        ['cafe au lait 250 ml']
    """
    told = values.select(pl.concat_str(list(attributes) or values.columns, separator=" ").alias("text"))["text"]
    plain = told.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()
    return plain.str.replace_all(r"\s+", " ").str.strip_chars()


def paired(left: sparse.csr_matrix, right: sparse.csr_matrix, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The inner product of each pair of rows.

    Args:
        left: (n, terms)
        right: (m, terms)
        pairs: Rows of both. (p,), (p,)

    Returns:
        (p,) float32
    """
    found = np.zeros(len(pairs[0]), np.float32)
    # a row of a long record is copied for each pair that it is in
    numbers = np.maximum(*(np.diff(one.indptr)[rows] for one, rows in zip((left, right), pairs, strict=True)))
    for start, end in parts(numbers, _HELD):
        both = left[pairs[0][start:end]].multiply(right[pairs[1][start:end]])
        found[start:end] = np.asarray(both.sum(axis=1)).ravel()
    return found


def parts(work: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Runs of rows that are so much work together, at the most, or one row each. (n,)

    Example:
        >>> list(parts(np.array([3, 1, 1, 9, 2]), 4))
        [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    total, start = np.cumsum(work, dtype=np.int64), 0
    while start < len(work):
        before = total[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(total, before + most, side="right")))
        yield start, end
        start = end


def _lengths(texts: pl.Series) -> np.ndarray:
    """Characters of each text. (n,) int64"""
    return texts.str.len_chars().to_numpy().astype(np.int64)


def _terms(texts: pl.Series, config: TermsConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each record's different terms: a number each, how often it occurs there, and the record's row."""
    codes, rows = (_words if config.kind == "words" else _characters)(texts, config.size)
    order = np.lexsort((codes, rows))
    codes, rows = codes[order], rows[order]
    begins = np.concatenate([[True], (np.diff(codes) != 0) | (np.diff(rows) != 0)])[: len(codes)]
    first = np.flatnonzero(begins)
    counts = np.diff(np.append(first, len(codes)))
    return codes[first], counts, rows[first]


def _words(texts: pl.Series, _: int) -> tuple[np.ndarray, np.ndarray]:
    said = pl.DataFrame({"row": np.arange(len(texts)), "word": texts.str.extract_all(r"[\p{L}\p{N}]+")})
    said = said.explode("word").drop_nulls()
    different = said.select("word").unique(maintain_order=True)
    different = different.with_columns(code=pl.Series(string_keys(different["word"])))
    said = said.join(different, on="word", how="left", maintain_order="left")
    return said["code"].to_numpy(), said["row"].to_numpy()


def _characters(texts: pl.Series, size: int) -> tuple[np.ndarray, np.ndarray]:
    """N-grams as numbers: each character has its own bits, so that no two n-grams share a number."""
    around = " " * (size - 1 and 1)
    joined = np.frombuffer("".join(f"{around}{one}{around}" for one in texts.to_list()).encode("utf-32-le"), np.uint32)
    lengths = _lengths(texts) + 2 * len(around)
    rows = np.repeat(np.arange(len(texts)), lengths)
    codes = np.zeros(max(len(joined) - size + 1, 0), np.int64)
    for n in range(size):
        codes = (codes << _BITS) | joined[n : n + len(codes)].astype(np.int64)
    whole = rows[: len(codes)] == rows[size - 1 :][: len(codes)]  # none lies across two records
    return codes[whole], rows[: len(codes)][whole]
