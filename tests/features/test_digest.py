"""The content hash: alike for equal content, different for different content."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.digest import sha256_of

COLUMNS = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=6).map(lambda one: pl.Series(one, dtype=pl.Int64)),
    st.lists(st.none() | st.text(alphabet="ab", max_size=2), max_size=6).map(
        lambda one: pl.Series(one, dtype=pl.String)
    ),
    st.lists(st.none() | st.lists(st.none() | st.sampled_from("ab"), max_size=2), max_size=4).map(
        lambda one: pl.Series(one, dtype=pl.List(pl.String))
    ),
)


@given(COLUMNS, COLUMNS)
def test_equal_hashes_mean_equal_columns(one: pl.Series, other: pl.Series) -> None:
    equal = one.dtype == other.dtype and one.to_list() == other.to_list()
    assert (sha256_of(one) == sha256_of(other)) == equal


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1.5, None]),
        pl.Series([True, None]),
        pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 1, 2), eager=True),
    ],
)
def test_other_types_have_a_hash_that_changes_with_them(values: pl.Series) -> None:
    assert sha256_of(values) == sha256_of(values.clone())
    assert sha256_of(values) != sha256_of(values[::-1])


def test_categories_hash_as_the_strings_they_stand_for() -> None:
    words = pl.Series(["b", "a", None])
    assert sha256_of(words.cast(pl.Categorical)) == sha256_of(words)


def test_neighbouring_parts_do_not_run_together() -> None:
    assert sha256_of("ab", "c") != sha256_of("a", "bc")
