"""Histories against sorting a list of tuples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.histories import histories

TIMES = st.one_of(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1))


@given(st.lists(st.tuples(st.integers(0, 5), TIMES), max_size=40), st.booleans())
def test_the_order_is_user_time_position(log: list[tuple[int, int]], sorted_by_time: bool) -> None:
    if sorted_by_time:
        log = sorted(log, key=lambda one: one[1])
    users, times = (np.array([one[at] for one in log], dtype=np.int64) for at in (0, 1))
    given_users, given_times = users.copy(), times.copy()
    made = histories(users, np.arange(len(log)) + 100, times, 6)
    for user in range(6):
        expected = sorted((time, place) for place, (one, time) in enumerate(log) if one == user)
        assert made.row(user).tolist() == [100 + place for _, place in expected]
    chosen = np.arange(len(log)) % 3 != 1
    some = histories(users, np.arange(len(log)), times, 6, chosen)
    expected = histories(users[chosen], np.flatnonzero(chosen), times[chosen], 6)
    assert some.values.tolist() == expected.values.tolist()
    assert some.offsets.tolist() == expected.offsets.tolist()
    told = [histories(users, np.arange(len(log)), times, 6, which, timed=True) for which in (None, chosen)]
    assert all(one.times.tolist() == times[one.values].tolist() for one in told) and made.times is None
    assert (users == given_users).all()  # the sorts work in place, but not in the caller's arrays
    assert (times == given_times).all()


@pytest.mark.parametrize("scale", [1, 2**40], ids=["packed", "too wide to pack"])
def test_many_rows_with_equal_times_keep_their_order(scale: int) -> None:
    random = np.random.default_rng(0)
    n = 200_000
    users, times = random.integers(0, 500, n), random.integers(-3, 4, n) * scale
    made = histories(users, np.arange(n), times, 501)
    order = np.lexsort((np.arange(n), times, users))
    assert (made.values == order).all()
    assert made.lengths.tolist() == np.bincount(users, minlength=501).tolist()
