"""Thresholds against every threshold there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import InputError
from recsys.matching.thresholds import best_f1, decide, for_precision

#: two of them with no number in between
SCORES = [-2.0, -1.0, 0.0, 0.5, 1.0, float(np.nextafter(1.0, 2.0)), 4.0]
PAIRS = st.lists(st.tuples(st.sampled_from(SCORES), st.booleans()), min_size=1, max_size=30)


def arrays(pairs):
    return np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])


@given(PAIRS.filter(lambda pairs: any(label for _, label in pairs)))
def test_no_threshold_has_a_better_f1(pairs) -> None:
    scores, labels = arrays(pairs)
    best = best_f1(scores, labels)
    every = [decide(scores, labels, one) for one in np.unique(scores)]
    assert best.f1 == max(one.f1 for one in every)
    assert best == decide(scores, labels, best.threshold)


@given(PAIRS.filter(lambda pairs: any(label for _, label in pairs)), st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_no_threshold_of_that_precision_finds_more(pairs, wanted) -> None:
    scores, labels = arrays(pairs)
    found = for_precision(scores, labels, wanted)
    every = [one for one in (decide(scores, labels, score) for score in np.unique(scores)) if one.precision >= wanted]
    if found is None:
        assert not every
    else:
        assert found.precision >= wanted and found.recall == max(one.recall for one in every)


def test_a_threshold_lies_between_scores() -> None:
    found = best_f1(np.array([4.0, 3.0, 1.0, 0.0]), np.array([True, True, False, False]))
    assert (found.threshold, found.precision, found.recall, found.f1) == (2.0, 1.0, 1.0, 1.0)


def test_even_odds_are_the_threshold_where_they_lie_between_scores() -> None:
    found = best_f1(np.array([4.0, 3.0, -4.0]), np.array([True, True, False]))
    assert (found.threshold, found.f1) == (0.0, 1.0)
    assert best_f1(np.array([4.0, 0.0, -4.0]), np.array([True, True, False])).threshold == 0.0
    assert best_f1(np.array([4.0, 3.0, 0.0]), np.array([True, True, False])).threshold == 1.5


def test_few_pairs_show_little_of_a_precision() -> None:
    labels = np.arange(40) < 20
    shown = [decide(np.where(np.arange(40) < n, 1.0, -1.0), labels, 0.0).least_precision for n in (0, 1, 20, 21)]
    # all of n are right: the precision p at which that has a chance of 5% is .05 ** (1 / n)
    np.testing.assert_allclose(shown[:3], [0, 0.05, 0.05 ** (1 / 20)])
    assert shown[3] < shown[2]


def test_what_is_not_there_has_no_figures_to_divide_by() -> None:
    assert decide(np.array([1.0]), np.array([False]), 0.0).f1 == 0.0
    nothing = decide(np.array([1.0]), np.array([True]), 2.0)
    assert (nothing.precision, nothing.recall, nothing.f1) == (1.0, 0.0, 0.0)


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(InputError, match="none of the 2 is"):
        best_f1(np.array([1.0, 2.0]), np.array([False, False]))
    for wanted in (0.0, 1.1, float("nan")):
        with pytest.raises(InputError, match="a precision is above 0 and at most 1"):
            for_precision(np.array([1.0]), np.array([True]), wanted)
