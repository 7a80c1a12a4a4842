"""Which pairs are asked for, and which labels are suspected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.matching.informative import most_informative, spread, suspected_noise


@given(st.integers(0, 40), st.integers(1, 50), st.integers(0, 5))
def test_different_places_as_many_as_there_are(m: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    stated, vectors = random.normal(scale=4, size=m), random.normal(size=(m, 3))
    found = most_informative(stated, vectors, n, seed)
    assert len(found) == len(set(found.tolist())) == min(m, n)
    assert not len(found) or np.abs(stated[found[0]]) == np.abs(stated).min()
    assert found.tolist() == most_informative(stated, vectors, n, seed).tolist()


def test_equal_pairs_are_asked_for_once_before_others() -> None:
    vectors = np.repeat(np.eye(4), 25, axis=0)
    found = most_informative(np.zeros(100), vectors, 4)
    assert sorted(found // 25) == [0, 1, 2, 3]


def test_of_equal_pairs_the_least_certain_are_next() -> None:
    stated = np.array([3.0, 0.5, -1.0, 2.0])
    assert most_informative(stated, np.zeros((4, 2)), 3).tolist() == [1, 2, 3]


def test_sure_pairs_are_not_asked_for() -> None:
    random = np.random.default_rng(0)
    stated = np.concatenate([random.normal(scale=0.5, size=50), random.choice([-12, 12], 950)])
    found = most_informative(stated, random.normal(size=(1000, 8)), 20)
    assert (found < 50).all()


def test_labels_that_were_turned_are_suspected() -> None:
    random = np.random.default_rng(1)
    right = random.random(500) < 0.3
    stated = np.where(right, 3.0, -3.0) + random.normal(scale=0.7, size=500)
    labels = right.copy()
    turned = random.choice(500, 20, replace=False)
    labels[turned] = ~labels[turned]
    found = suspected_noise(stated, labels)
    assert set(found[:15]) <= set(turned) and len(set(turned) & set(found)) >= 12
    wrong = np.where(labels, -stated, stated)[found]
    assert np.all(np.diff(wrong) <= 1e-12)


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_of_one_label_nothing_is_suspected(labels: list[bool]) -> None:
    assert len(suspected_noise(np.zeros(len(labels)), np.array(labels, dtype=bool))) == 0


def test_where_no_matcher_is_all_degrees_of_likeness_are_asked_for() -> None:
    scores = np.concatenate([np.random.default_rng(0).uniform(0, 0.2, 2000), np.linspace(0.2, 1, 40)])
    chosen = spread(scores, 60, seed=3)
    assert len(set(chosen.tolist())) == 60 and (np.diff(scores[chosen]) <= 0).all()
    assert (scores[chosen] > 0.2).sum() > 30  # of a plain draw it would be one or two
    assert (scores[chosen] < 0.2).any() and spread(scores, 60, seed=3).tolist() == chosen.tolist()
    assert sorted(spread(scores[:3], 9).tolist()) == [0, 1, 2] and not len(spread(scores[:0], 9))
    assert sorted(spread(np.ones(4), 9).tolist()) == [0, 1, 2, 3]
