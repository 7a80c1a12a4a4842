"""Units of timestamps, by how large they are."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.time_units import UNITS, unit_of


@pytest.mark.parametrize(("unit", "n"), UNITS.items())
def test_the_unit_of_times_is_read_off_their_size(unit, n):
    for seconds in (400_000_000, 1_700_000_000, 7_000_000_000):
        assert unit_of(seconds * n) == unit
        assert unit_of(seconds * n + n - 1) == unit
    for year, told in ((1979, None), (1980, unit), (2199, unit), (2200, None)):
        first = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        assert unit_of(first * n) == told
    assert unit_of(-1_700_000_000 * n) is None


@given(st.integers(-(2**63), 2**63 - 1))
def test_no_number_is_of_two_units(number):
    fits = [unit for unit, n in UNITS.items() if 1979 <= 1970 + number / n / 31_556_952 <= 2201]
    assert len(fits) <= 1 and unit_of(number) in (None, *fits)


def test_what_only_says_an_order_has_none():
    assert [unit_of(one) for one in (None, 0, 41, 1_200, 100_000_000)] == [None] * 5
