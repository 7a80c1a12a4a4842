"""The vectors of items' texts: from the store where they are known, else from the model, and into the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.embedding_store import EmbeddingStore, keys_of
from features.errors import InputError
from features.item_text import item_sentences, whole_sentences
from recsys.text_encoders.config import ItemTextConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.loading import facts_of, load_encoder

#: texts that are encoded between two writes: what a kill loses at the most
CHUNK = 1024


@dataclass(frozen=True)
class ItemVectors:
    """The vectors of n items, and how they came to be.

    Args:
        vectors: Null where an item has no text. (n,) Array(Float32, V)
        encoded: Texts that the model has read now.
        stored: Texts whose vectors were in the store.
        shortened: Texts of those encoded that had no room for all that there was to say.
    """

    vectors: pl.Series
    encoded: int
    stored: int
    shortened: int

    @property
    def missing(self) -> int:
        """How many items have no text."""
        return self.vectors.null_count()


def item_vectors(
    items: pl.DataFrame,
    config: ItemTextConfig,
    encoder: TextEncoder | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    wait: bool = True,
) -> ItemVectors:
    """Encodes what is said of items. What the store has is not encoded again; if it has all, no model is loaded.

    Args:
        items: One row an item, with the declared columns. (n rows)
        config: What is told of them, to which model.
        encoder: The model, where it is loaded already.
        progress: Called with how many texts are encoded of how many, at first and after each chunk.
        wait: For another process that encodes for the same store; else there is an error.

    Raises:
        InputError: A column that is not there or cannot be told, nothing to tell, no such model, or a store that is
            damaged, or another's at the moment.
    """
    said = whole_sentences(items, config.columns, config.prefix)
    rows = np.flatnonzero(said.is_not_null().to_numpy())
    keys = keys_of(said.drop_nulls().to_list())
    if not len(keys):
        raise InputError(f"no item has anything to tell in {', '.join(config.columns)}, the text.columns")
    _, first = np.unique(keys, return_index=True)
    first.sort()  # in the order of the items, so that the time that is left can be told
    store = EmbeddingStore(config.store or _default_store(), facts_of(config.encoder))
    new = first[~store.known(keys[first])]
    shortened = 0
    if len(new):
        with store.alone(wait):
            new = first[~store.known(keys[first])]
            shortened = _encode(items[rows], keys, new, config, encoder, store, progress)
            store.compact()
    found = store.take(keys)
    return ItemVectors(_column(found, rows, items.height, config.feature), len(new), len(first) - len(new), shortened)


def read_items(items: pl.DataFrame, config: ItemTextConfig, encoder: TextEncoder) -> pl.Series:
    """The vectors of what is told of items, without a store: for few, and at once.

    Args:
        items: One row an item; a column that is not there tells nothing. (n rows)
        config: What is told of them.
        encoder: The model.

    Returns:
        Null where nothing is told. (n,) Array(Float32, V)
    """
    vectors, _ = _read(with_silent_columns(items, config), config, encoder)
    return _column(vectors, np.arange(items.height), items.height, config.feature)


def with_silent_columns(items: pl.DataFrame, config: ItemTextConfig) -> pl.DataFrame:
    """The items with those declared columns that are not there, which tell nothing."""
    lacking = [pl.lit(None, dtype=pl.String).alias(one) for one in config.columns if one not in items.columns]
    return items.with_columns(lacking)


def _read(items: pl.DataFrame, config: ItemTextConfig, encoder: TextEncoder) -> tuple[np.ndarray, int]:
    """The vectors of what is told of items, zeros where nothing is, and how many texts were shortened. (n, V)"""
    told = item_sentences(items, config.columns, encoder.room, encoder.token_ends, config.prefix)
    vectors = np.zeros((items.height, encoder.size), np.float32)
    there = told.texts.is_not_null().to_numpy()  # of characters that no token stands for, nothing is told
    vectors[there] = encoder.encode(told.texts.drop_nulls().to_list())
    return vectors, told.shortened


def _encode(
    items: pl.DataFrame,
    keys: np.ndarray,
    new: np.ndarray,
    config: ItemTextConfig,
    encoder: TextEncoder | None,
    store: EmbeddingStore,
    progress: Callable[[int, int], None],
) -> int:
    """Encodes the texts of some items into the store, and says how many were shortened."""
    if not len(new):
        return 0
    encoder = encoder or load_encoder(config.encoder)
    shortened = 0
    progress(0, len(new))
    for start in range(0, len(new), CHUNK):
        some = new[start : start + CHUNK]
        vectors, cut = _read(items[some], config, encoder)
        shortened += cut
        store.add(keys[some], vectors)
        progress(start + len(some), len(new))
    return shortened


def _column(found: np.ndarray, rows: np.ndarray, n: int, name: str) -> pl.Series:
    """Vectors of some rows as a column of n, null for the others and for zeros."""
    matrix = np.zeros((n, found.shape[1]), np.float32)
    matrix[rows] = found
    column = pl.Series(name, matrix, dtype=pl.Array(pl.Float32, found.shape[1]))
    there = pl.Series(matrix.any(axis=1), dtype=pl.Boolean)
    return column.to_frame().select(pl.when(there).then(pl.col(name)).alias(name)).to_series()


def _default_store() -> Path:
    return Path("~/.cache/recsys/texts").expanduser()
