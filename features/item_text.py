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

#: where the tokens of some texts end, in characters
TokenEnds = Callable[[Sequence[str]], list[Sequence[int]]]

#: rows whose texts are tokenised at a time
_ROWS = 16_384

#: what a value is cut to before it is tokenised, in characters for each token that a sentence has room for: a page
#: that was pasted into a title costs no more than a title does
_CHARACTERS = 32

#: control characters (a NUL, a bell, a tab) and white space, of which each run becomes one space; marks of direction
#: and the joiners of emoji stay
_NOISE = r"[\p{Cc}\s]+"

BETWEEN = "; "


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
    values = [_told(items[column]) for column in _checked(items, columns)]
    there = np.stack([(one != "").to_numpy() for one in values], axis=1)
    return _joined(values, there, _keys(columns), prefix)


def item_sentences(
    items: pl.DataFrame, columns: Sequence[str], budget: int, token_ends: TokenEnds, prefix: str = ""
) -> Sentences:
    """What is said of items.

    A sentence of more tokens than the budget loses them where there are most: see `fair_shares`.

    Args:
        items: One row an item. (n rows)
        columns: What is told, in this order: columns of strings, numbers, booleans or dates, or of lists of them.
        budget: Tokens that a sentence has at most, those of keys and prefix included.
        token_ends: The encoder's tokenizer, without the tokens that it puts around a text.
        prefix: Stands before each sentence, such as an instruction.

    Raises:
        InputError: A column that is not there or cannot be told, or a budget that keys and prefix alone use up.

    Example:
        >>> items = pl.DataFrame({"title": ["Rose soap", None], "brand": ["Ada", None], "price": [3.5, None]})
        >>> def words(texts):
        ...     return [[n + 1 for n in range(len(text)) if text[n + 1 : n + 2] in ("", " ")] for text in texts]
        >>> found = item_sentences(items, ["title", "brand", "price"], 64, words)
        >>> found.texts.to_list(), found.missing
        (['title: Rose soap; brand: Ada; price: 3.5', None], 1)
        >>> item_sentences(items, ["title", "brand"], 4, words).texts[0]
        'title: Rose; brand: Ada'
    """
    columns, keys = _checked(items, columns), _keys(columns)
    n_prefix, n_between, *n_keys = map(len, token_ends([prefix, BETWEEN, *keys]))
    least = n_prefix + sum(n_keys) + n_between * (len(keys) - 1) + len(keys)
    if least > budget:
        raise InputError(
            f"text.max_tokens leaves room for {budget} tokens, and the prefix and the names of {len(keys)} columns, "
            f"with a token each, have {least}; raise it, or tell of fewer columns"
        )
    around = _Around(prefix, keys, n_prefix, np.array(n_keys), n_between)
    texts, shortened = [], 0
    for start in range(0, max(1, items.height), _ROWS):
        values = [_told(items[column].slice(start, _ROWS), _CHARACTERS * budget) for column in columns]
        n, made = _sentences(values, around, budget, token_ends)
        texts.append(made)
        shortened += n
    return Sentences(pl.concat(texts), shortened)


def fair_shares(lengths: np.ndarray, room: np.ndarray) -> np.ndarray:
    """How many tokens each value keeps, so that a row has no more than it has room for.

    All values of a row are cut to one length, the longest with which they fit: what short ones do not need, long ones
    have. What dividing leaves over goes to those that stand first.

    Args:
        lengths: Tokens of each value. (n, columns) int64
        room: Tokens of each row, as many as it has values at least. (n,) int64

    Returns:
        (n, columns)

    Example:
        >>> fair_shares(np.array([[9, 2, 8], [1, 2, 3]]), np.array([11, 20])).tolist()
        [[5, 2, 4], [1, 2, 3]]
    """
    rows, columns = lengths.shape
    ordered = np.sort(lengths, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    # were the n-th shortest value and all longer ones cut alike, each would have so many
    each = (room[:, None] - before) // (columns - np.arange(columns))
    cut = ordered > each  # from the first of them on, all are
    first = np.where(cut.any(axis=1), cut.argmax(axis=1), columns - 1)
    level = np.where(cut.any(axis=1), each[np.arange(rows), first], lengths.max(axis=1, initial=0))
    kept = np.minimum(lengths, level[:, None])
    longer = lengths > kept
    over = (room - kept.sum(axis=1))[:, None]
    return kept + (longer & (np.cumsum(longer, axis=1) <= over))


@dataclass(frozen=True)
class _Around:
    """What stands around values, and how many tokens that has."""

    prefix: str
    keys: list[str]
    n_prefix: int
    n_keys: np.ndarray  # (columns,)
    n_between: int


def _sentences(values: list[pl.Series], around: _Around, budget: int, token_ends: TokenEnds) -> tuple[int, pl.Series]:
    """How many of some rows are shortened, and their sentences. (n,) each"""
    lengths = np.stack([_lengths(one, token_ends) for one in values], axis=1)  # (n, columns)
    there = lengths > 0
    taken = around.n_prefix + there @ around.n_keys + around.n_between * np.maximum(there.sum(axis=1) - 1, 0)
    kept = fair_shares(lengths, budget - taken)
    cut = kept < lengths
    shorter = [_shortened(one, kept[:, n], cut[:, n], token_ends) for n, one in enumerate(values)]
    return int(cut.any(axis=1).sum()), _joined(shorter, there, around.keys, around.prefix)


def _joined(values: list[pl.Series], there: np.ndarray, keys: list[str], prefix: str) -> pl.Series:
    """The values that are there, with their keys; null where none is. (n,) each, (n, columns) -> (n,)"""
    frame = pl.DataFrame([one.alias(str(n)) for n, one in enumerate(values)])
    told = [pl.when(pl.Series(there[:, n])).then(pl.lit(key) + pl.col(str(n))) for n, key in enumerate(keys)]
    joined = frame.select(pl.lit(prefix) + pl.concat_str(told, separator=BETWEEN, ignore_nulls=True)).to_series()
    return joined.set(pl.Series(~there.any(axis=1)), None).alias("text")


def _checked(items: pl.DataFrame, columns: Sequence[str]) -> Sequence[str]:
    if not columns:
        raise InputError("text.columns is empty: it names the columns that an item's text is made of")
    for column in columns:
        if column not in items.columns:
            raise InputError(f"text.columns names {column!r}, which the items lack: {', '.join(items.columns)}")
    return columns


def _keys(columns: Sequence[str]) -> list[str]:
    return [f"{column.replace('_', ' ')}: " for column in columns]


def _told(values: pl.Series, characters: int | None = None) -> pl.Series:
    """A column as strings without noise, "" where there is nothing to tell."""
    dtype = values.dtype
    lists = isinstance(dtype, pl.List | pl.Array)
    inner = dtype.inner if lists else dtype
    if isinstance(inner, pl.List | pl.Array | pl.Struct | pl.Binary | pl.Object):
        raise InputError(f"text.columns names {values.name!r}, which holds {dtype}: that cannot be told")
    if lists:
        values = values.cast(pl.List(pl.String)).list.drop_nulls().list.join(", ")
    values = values.cast(pl.String)
    if inner.is_float():  # 2013.0 is a year that was read beside nulls
        values = values.str.replace_all(r"\.0\b", "")
    cut = values.str.slice(0, characters)
    return cut.str.replace_all(_NOISE, " ").str.strip_chars().fill_null("")


def _lengths(values: pl.Series, token_ends: TokenEnds) -> np.ndarray:
    """How many tokens each has; brands and categories repeat, and are counted once. (n,) -> (n,)"""
    different = values.unique()
    counts = pl.Series([len(ends) for ends in token_ends(different.to_list())], dtype=pl.Int64)
    # replaced values are looked up by a join, whose order is that of the left side
    joined = values.to_frame("value").join(
        pl.DataFrame({"value": different, "n": counts}), on="value", how="left", maintain_order="left"
    )
    return joined["n"].to_numpy()


def _shortened(values: pl.Series, kept: np.ndarray, cut: np.ndarray, token_ends: TokenEnds) -> pl.Series:
    """The values, some of them cut to so many tokens. (n,)"""
    rows = np.flatnonzero(cut)
    if not len(rows):
        return values
    texts = values.gather(rows).to_list()
    shorter = [
        text[: ends[n - 1]].rstrip()
        for text, ends, n in zip(texts, token_ends(texts), kept[rows].tolist(), strict=True)
    ]
    return values.clone().scatter(rows, shorter)
