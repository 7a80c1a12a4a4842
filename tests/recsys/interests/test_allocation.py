import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recsys.interests import largest_remainder

weights = arrays(np.float64, (3, 4), elements=st.floats(0, 1, allow_subnormal=False).map(lambda one: round(one, 6)))


@given(weights, st.integers(0, 300))
def test_every_user_gets_all_and_each_interest_its_share_to_within_one(weights, k):
    counts = largest_remainder(weights, k)
    totals = weights.sum(axis=1)
    assert counts.sum(axis=1).tolist() == np.where(totals > 0, k, 0).tolist()
    assert (counts[weights == 0] == 0).all()
    for row, mine, total in zip(weights, counts, totals, strict=True):
        if total:
            assert (np.abs(mine - k * row / total) < 1 + 1e-6).all()


def test_what_is_left_goes_to_the_largest_fractions():
    # shares of 10: 4.7, 3.1, 2.2
    assert largest_remainder(np.array([[0.47, 0.31, 0.22]]), 10).tolist() == [[5, 3, 2]]


def test_of_equal_fractions_the_first_gets_more():
    assert largest_remainder(np.full((1, 3), 1 / 3), 4).tolist() == [[2, 1, 1]]


def test_whole_shares_stay_whole_though_they_are_not_in_binary():
    assert largest_remainder(np.array([[0.7, 0.1 + 0.2]]), 10).tolist() == [[7, 3]]


def test_nobody_and_nothing():
    assert largest_remainder(np.empty((0, 3)), 5).shape == (0, 3)
    assert largest_remainder(np.empty((2, 0)), 5).shape == (2, 0)
