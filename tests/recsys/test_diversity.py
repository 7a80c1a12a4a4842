"""How different the items of a list are: against definitions written as loops."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.batches import JaggedArray
from recsys.diversity import distinct, pairwise_distance


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 5), st.integers(2, 12))
def test_measures_are_their_definitions(seed: int, users: int, k: int, items: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(items, 3)) * (random.random((items, 1)) < 0.8)
    lists = np.full((users, k), -1)
    for user in range(users):
        chosen = random.permutation(items)[: random.integers(0, min(k, items) + 1)]
        lists[user, : len(chosen)] = chosen
    in_groups = [random.permutation(5)[: random.integers(0, 4)] - 1 for _ in range(items)]  # -1 is none
    groups = JaggedArray(
        np.concatenate([*in_groups, np.empty(0, np.int64)]).astype(np.int64),
        np.concatenate([[0], np.cumsum([len(one) for one in in_groups])]),
    )

    found, numbers = pairwise_distance(lists, vectors), distinct(lists, groups)
    for user in range(users):
        mine = [row for row in lists[user] if row >= 0]
        apart = []
        for one, other in combinations(mine, 2):
            length = np.linalg.norm(vectors[one]) * np.linalg.norm(vectors[other])
            apart.append(1 - (vectors[one] @ vectors[other] / length if length else 0))
        if apart:
            assert found[user] == pytest.approx(np.mean(apart), abs=1e-5)
        else:
            assert np.isnan(found[user])
        assert numbers[user] == len({int(group) for row in mine for group in in_groups[row] if group >= 0})


def test_nobody_and_nothing() -> None:
    assert pairwise_distance(np.empty((0, 5), np.int64), np.ones((3, 2))).shape == (0,)
    assert np.isnan(pairwise_distance(np.full((2, 3), -1), np.ones((3, 2)))).all()


def test_many_lists_are_measured_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, lists = np.random.default_rng(0).normal(size=(50, 8)), np.random.default_rng(1).integers(0, 50, (40, 6))
    whole = pairwise_distance(lists, vectors)
    monkeypatch.setattr("recsys.diversity._CHUNK", 100)
    assert np.array_equal(pairwise_distance(lists, vectors), whole)
