"""Items as sentences: attributes in a declared order, as "key: value", shortened fairly where there is no room for all.

What a language model reads of an item. A value that is missing is left out, key and all; an item of which nothing is
said has no sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from features.errors import InputError
from features.fair_shares import fair_shares
from features.plain_text import plain_text

#: where the tokens of some texts end, in characters
TokenEnds = Callable[[Sequence[str]], Sequence[Sequence[int]]]

#: what stands between two attributes
BETWEEN = "; "

#: sentences that are tokenised at a time
_ROWS = 16_384

#: what a value is cut to before it is tokenised, in characters for each token that a sentence has room for: a page
#: that was pasted into a title costs no more than a title does
_CHARACTERS = 32


@dataclass(frozen=True)
class Sentences:
    """What is said of n items.

    Args:
        texts: Null where nothing is. (n,) String
        shortened: How many have lost tokens.
    """

    texts: pl.Series
    shortened: int

    @property
    def missing(self) -> int:
        """How many items have none."""
        return self.texts.null_count()


def whole_sentences(items: pl.DataFrame, columns: Sequence[str], prefix: str = "") -> pl.Series:
    """What is said of items where there is room for everything: what tells one item's text from another's.

    Args:
        items: One row an item. (n rows)
        columns: What is told, in this order.
        prefix: Stands before each sentence.

    Returns:
        Null where nothing is said. (n,) String

    Raises:
        InputError: A column that is not there or cannot be told.
    """
    return _joined(_told(items, columns), _keys(columns), prefix)


def item_sentences(
    items: pl.DataFrame, columns: Sequence[str], budget: int, token_ends: TokenEnds, prefix: str = ""
) -> Sentences:
    r"""What is said of items.

    A sentence of more tokens than the budget loses them where there are most: see `features.fair_shares`.

    Args:
        items: One row an item. (n rows)
        columns: What is told, in this order: columns of strings, numbers, booleans or dates, or of lists of them.
        budget: Tokens that a sentence has at most, those of keys and prefix included.
        token_ends: The encoder's tokenizer, without the tokens that it puts around a text.
        prefix: Stands before each sentence, such as an instruction.

    Raises:
        InputError: A column that is not there or cannot be told, or a budget that keys and prefix alone use up.

    Example:
        >>> import re
        >>> items = pl.DataFrame({"title": ["Rose soap", None], "brand": ["Ada", None], "price": [3.5, None]})
        >>> def words(texts):
        ...     return [[word.end() for word in re.finditer(r"\w+|[^\w\s]", text)] for text in texts]
        >>> found = item_sentences(items, ["title", "brand", "price"], 64, words)
        >>> found.texts.to_list(), found.missing
        (['title: Rose soap; brand: Ada; price: 3.5', None], 1)
        >>> item_sentences(items, ["title", "brand"], 7, words).texts[0]
        'title: Rose; brand: Ada'
    """
    told = _told(items, columns)
    frame = _Frame.of(columns, prefix, token_ends)
    if frame.least > budget:
        raise InputError(
            f"text.encoder.max_tokens leaves room for {budget} tokens, and the prefix and the names of "
            f"{len(columns)} columns, with a token each, have {frame.least}; raise it, or tell of fewer columns"
        )
    texts, shortened = _joined(told, frame.keys, prefix), 0
    rows = np.flatnonzero(_may_be_long(texts, budget))
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        shorter, n = _shorter([one.gather(some) for one in told], frame, budget, token_ends)
        texts, shortened = texts.scatter(some, shorter), shortened + n
    return Sentences(texts, shortened)


@dataclass(frozen=True)
class _Frame:
    """What stands around values, and how many tokens that has."""

    prefix: str
    keys: list[str]
    n_prefix: int
    n_keys: np.ndarray  # (columns,)
    n_between: int

    @classmethod
    def of(cls, columns: Sequence[str], prefix: str, token_ends: TokenEnds) -> _Frame:
        keys = _keys(columns)
        n_prefix, n_between, *n_keys = map(len, token_ends([prefix, BETWEEN, *keys]))
        return cls(prefix, keys, n_prefix, np.array(n_keys), n_between)

    @property
    def least(self) -> int:
        """Tokens of a row that has all values, of one token each."""
        return int(self.taken(np.ones((1, len(self.keys)), bool))[0]) + len(self.keys)

    def taken(self, there: np.ndarray) -> np.ndarray:
        """Tokens that a row has besides those of its values. (n, columns) bool -> (n,)"""
        gaps = np.maximum(there.sum(axis=1) - 1, 0)
        return self.n_prefix + there @ self.n_keys + self.n_between * gaps


def _may_be_long(texts: pl.Series, budget: int) -> np.ndarray:
    """Which sentences may have more tokens than there is room for, so that they have to be counted. (n,) bool

    Of plain ASCII, a token has a character at least, but for the one that some tokenizers begin with.
    """
    length = texts.str.len_bytes()
    return ((length >= budget) | (length > texts.str.len_chars())).fill_null(False).to_numpy()


def _shorter(told: list[pl.Series], frame: _Frame, budget: int, token_ends: TokenEnds) -> tuple[pl.Series, int]:
    """Sentences that have no more tokens than the budget, and how many have lost some. (n,) each -> (n,)"""
    most = _CHARACTERS * budget
    long = np.stack([(one.str.len_chars() > most).to_numpy() for one in told], axis=1)  # (n, columns)
    there = np.stack([(one != "").to_numpy() for one in told], axis=1)  # (n, columns)
    values = [one.str.slice(0, most).str.strip_chars_end() for one in told]
    lengths = np.stack([_lengths(one, token_ends) for one in values], axis=1)  # (n, columns)
    kept = fair_shares(lengths, budget - frame.taken(there))
    values = [_cut(one, lengths[:, n], kept[:, n], token_ends) for n, one in enumerate(values)]
    return _joined(values, frame.keys, frame.prefix), int(((kept < lengths) | long).any(axis=1).sum())


def _joined(values: list[pl.Series], keys: list[str], prefix: str) -> pl.Series:
    """The values that are not "", with their keys; null where there is none. (n,) each -> (n,)"""
    names = [str(n) for n in range(len(values))]
    told = [pl.when(pl.col(name) != "").then(pl.lit(key) + pl.col(name)) for name, key in zip(names, keys, strict=True)]
    said = pl.concat_str(told, separator=BETWEEN, ignore_nulls=True)
    frame = pl.DataFrame([one.alias(name) for name, one in zip(names, values, strict=True)])
    return frame.select(text=pl.when(said != "").then(pl.lit(prefix) + said)).to_series()


def _told(items: pl.DataFrame, columns: Sequence[str]) -> list[pl.Series]:
    """The columns as strings, "" where there is nothing to tell. (n,) each"""
    if not columns:
        raise InputError("text.columns is empty: it names the columns that an item's text is made of")
    for column in columns:
        if column not in items.columns:
            known = ", ".join(items.columns)
            raise InputError(f"text.columns names {column!r}, which the items lack; their columns are {known}")
    return [plain_text(items[column], f"text.columns names {column!r}, which") for column in columns]


def _keys(columns: Sequence[str]) -> list[str]:
    return [f"{column.replace('_', ' ')}: " for column in columns]


def _lengths(values: pl.Series, token_ends: TokenEnds) -> np.ndarray:
    """How many tokens each has; brands and categories repeat, and are counted once. (n,) -> (n,) int64"""
    different = values.unique()
    counts = pl.Series("n", [len(ends) for ends in token_ends(different.to_list())], dtype=pl.Int64)
    known = pl.DataFrame([different.alias("value"), counts])
    return values.to_frame("value").join(known, on="value", how="left", maintain_order="left")["n"].to_numpy()


def _cut(values: pl.Series, lengths: np.ndarray, kept: np.ndarray, token_ends: TokenEnds) -> pl.Series:
    """The values, each with as many of its tokens as it keeps. (n,)"""
    rows = np.flatnonzero(kept < lengths)
    if not len(rows):
        return values
    texts = values.gather(rows).to_list()
    cut = [
        text[: _end(ends, n)].rstrip()
        for text, ends, n in zip(texts, token_ends(texts), kept[rows].tolist(), strict=True)
    ]
    return values.clone().scatter(rows, cut)


def _end(ends: Sequence[int], n: int) -> int:
    """Where the first n of more tokens end. A character of several tokens, such as an emoji's bytes, goes whole."""
    while n and ends[n - 1] >= ends[n]:
        n -= 1
    return ends[n - 1] if n else 0
