"""Columns of vectors: checked, brought to one type, and read as one matrix."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.errors import InputError


def vector_column(values: pl.Series, size: int = 0) -> pl.Series:
    """A column of vectors as fixed-size arrays of float32; null stays null.

    Args:
        values: Lists or arrays of numbers. (n,)
        size: How many numbers each has; 0 for as many as the first.

    Raises:
        InputError: Something else than lists of numbers, lengths that differ, or a number that is not finite.

    Example:
        >>> vector_column(pl.Series("text", [[1, 2], None, [3, 4]])).dtype
        Array(Float32, shape=(2,))
    """
    name, dtype = values.name, values.dtype
    if isinstance(dtype, pl.List | pl.Array) and (dtype.inner.is_numeric() or dtype.inner == pl.Null):
        lengths = values.drop_nulls().cast(pl.List(pl.Float32)).list.len()
    elif dtype == pl.Null:
        lengths = pl.Series([], dtype=pl.UInt32)
    else:
        example = values.drop_nulls()
        such = f", such as {example[0]!r}" if len(example) else ""
        raise InputError(f"column {name!r} is declared vector and holds {dtype}, not lists of numbers{such}")
    size = size or (int(lengths[0]) if len(lengths) else 0)
    if not size:
        raise InputError(
            f"column {name!r} is declared vector and holds no number, so that nobody knows how many it has"
        )
    if not (lengths == size).all():
        row = int((values.cast(pl.List(pl.Float32)).list.len().fill_null(size) != size).arg_max() or 0)
        raise InputError(f"column {name!r} holds vectors of {size} numbers, and in row {row} one of {len(values[row])}")
    found = values.cast(pl.Array(pl.Float32, size))
    bad = ~np.isfinite(vector_matrix(found, size)).all(axis=1)
    if bad.any():
        raise InputError(
            f"column {name!r} holds a vector with a number that is not finite in {int(bad.sum())} of {len(values)} "
            f"rows, first in row {int(bad.argmax())}"
        )
    return found


def vector_matrix(values: pl.Series, size: int) -> np.ndarray:
    """A column of `vector_column` as one matrix; null as zeros. (n,) -> (n, V) float32

    Args:
        values: The column. (n,)
        size: V
    """
    if values.dtype != pl.Array(pl.Float32, size):
        values = vector_column(values, size)
    matrix = np.zeros((len(values), size), np.float32)
    there = values.is_not_null().to_numpy()
    matrix[there] = values.drop_nulls().explode().to_numpy().reshape(-1, size)
    return matrix
