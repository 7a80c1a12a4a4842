"""Columns of vectors: checked, brought to one type, and read as one matrix."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.errors import InputError


def holds_vectors(dtype: pl.DataType) -> bool:
    """Whether a column of this type may hold vectors: lists of numbers, or nothing at all."""
    if not isinstance(dtype, pl.List | pl.Array):
        return dtype == pl.Null
    return dtype.inner.is_numeric() or dtype.inner == pl.Null


def vector_column(values: pl.Series, size: int = 0) -> pl.Series:
    """A column of vectors as arrays of float32, all of one width; null stays null.

    Args:
        values: Lists or arrays of numbers. (n,)
        size: V, how many numbers each has; 0 for as many as the first.

    Returns:
        (n,) Array(Float32, V)

    Raises:
        InputError: Something else than lists of numbers, lengths that differ, or a number that is missing or not
            finite.

    Example:
        >>> vector_column(pl.Series("text", [[1, 2], None, [3, 4]])).dtype
        Array(Float32, shape=(2,))
    """
    arrays = _arrays(values, size)
    assert isinstance(arrays.dtype, pl.Array)
    vector_matrix(arrays, arrays.dtype.size)
    return arrays


def vector_matrix(values: pl.Series, size: int) -> np.ndarray:
    """A column of vectors as one matrix; null as zeros. (n,) -> (n, V) float32

    Args:
        values: Lists or arrays of numbers. (n,)
        size: V

    Raises:
        InputError: See `vector_column`.
    """
    arrays = _arrays(values, size)
    matrix = np.zeros((len(arrays), size), np.float32)
    matrix[arrays.is_not_null().to_numpy()] = arrays.drop_nulls().to_numpy().reshape(-1, size)
    bad = ~np.all(np.isfinite(matrix), axis=1)  # a number that is missing is read as NaN
    if bad.any():
        raise InputError(
            f"column {values.name!r} holds a vector with a number that is missing or not finite in {int(bad.sum())} "
            f"of {len(bad)} rows, first in row {int(bad.argmax())}"
        )
    return matrix


def _arrays(values: pl.Series, size: int) -> pl.Series:
    """The column in its one type; what its numbers are is not looked at. (n,)"""
    name = values.name
    if not holds_vectors(values.dtype):
        raise InputError(f"column {name!r} is declared vector and holds {values.dtype}, not lists of numbers")
    if isinstance(values.dtype, pl.Array):
        size = size or values.dtype.size
        if values.dtype == pl.Array(pl.Float32, size):
            return values
    lists = values.cast(pl.List(pl.Float32))
    lengths = lists.list.len()
    size = size or next(iter(lengths.drop_nulls().head(1)), 0)
    if not size:
        raise InputError(
            f"column {name!r} is declared vector and its first holds no number, so that nobody knows how many they have"
        )
    other = (lengths != size).fill_null(False)
    if other.any():
        row = int(other.arg_max() or 0)
        raise InputError(f"column {name!r} holds vectors of {size} numbers, and in row {row} one of {lengths[row]}")
    return lists.cast(pl.Array(pl.Float32, size))
