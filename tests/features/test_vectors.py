"""Columns of vectors, and the one sentence about those that are none."""

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from features.vectors import vector_column, vector_matrix


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2], None, [3, 4]],
        [[1.0, 2.0], None, [3.0, 4.0]],
        pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.UInt8, 2)),
        pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Float64, 2)),
        pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Float32, 2)),
    ],
    ids=["integers", "fractions", "array of bytes", "array of fractions", "as it should be"],
)
def test_lists_and_arrays_of_any_numbers_become_one_type(values) -> None:
    column = pl.Series("v", values)
    made = vector_column(column)
    assert (made.name, made.dtype, made.to_list()) == ("v", pl.Array(pl.Float32, 2), [[1, 2], None, [3, 4]])
    matrix = vector_matrix(column, 2)
    assert matrix.dtype == np.float32 and matrix.tolist() == [[1, 2], [0, 0], [3, 4]]
    assert vector_column(made, 2).equals(made)


def test_a_column_without_a_vector_takes_the_width_that_is_declared() -> None:
    for column in (pl.Series("v", [None, None]), pl.Series("v", [None, None], dtype=pl.List(pl.Float64))):
        assert vector_column(column, 3).dtype == pl.Array(pl.Float32, 3)
        assert vector_matrix(column, 3).tolist() == [[0, 0, 0]] * 2
    nobody = pl.Series("v", [], dtype=pl.Array(pl.Float32, 3))
    assert vector_matrix(nobody, 3).shape == (0, 3)
    assert len(vector_column(nobody)) == 0


@pytest.mark.parametrize(
    ("values", "size", "message"),
    [
        (["[1, 2]"], 0, "column 'v' is declared vector and holds String, not lists of numbers"),
        ([["a"]], 0, r"holds List\(String\), not lists of numbers"),
        ([[[1.0]]], 0, "not lists of numbers"),
        ([None], 0, "nobody knows how many"),
        ([[], [1.0]], 0, "nobody knows how many"),
        ([[1.0, 2.0], None, [3.0]], 0, "holds vectors of 2 numbers, and in row 2 one of 1"),
        ([[1.0, 2.0]], 3, "holds vectors of 3 numbers, and in row 0 one of 2"),
        (
            pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float32, 2)),
            3,
            "holds vectors of 3 numbers, and in row 0 one of 2",
        ),
        ([[1.0], [float("nan")], [float("inf")]], 0, "not finite in 2 of 3 rows, first in row 1"),
        ([[1.0], [None]], 0, "missing or not finite in 1 of 2 rows, first in row 1"),
        ([[1e300]], 0, "not finite in 1 of 1 rows"),
    ],
)
def test_what_is_no_vector_is_told_in_one_sentence(values, size: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        vector_column(pl.Series("v", values), size)
    assert "\n" not in str(caught.value)


def test_a_matrix_is_checked_as_well() -> None:
    """What a request brings has been seen by nobody."""
    infinite = pl.Series("v", [[1.0], [float("inf")]], dtype=pl.Array(pl.Float32, 1))
    with pytest.raises(InputError, match=r"'v' holds a vector .* not finite in 1 of 2 rows, first in row 1"):
        vector_matrix(infinite, 1)
    with pytest.raises(InputError, match="vectors of 2 numbers, and in row 0 one of 1"):
        vector_matrix(infinite, 2)
