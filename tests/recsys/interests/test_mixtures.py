"""Against a loop that is written from the paper's equations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.errors import InputError
from recsys.interests import Clusters, mixtures_of

N, D, C = 12, 3, 4


def jagged(rows: list[list[int]]) -> JaggedArray:
    return JaggedArray(
        np.array([one for row in rows for one in row], np.int64),
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
    )


def world(seed: int) -> tuple[np.ndarray, Clusters]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, D)).astype(np.float32), Clusters(np.zeros((C, D), np.float32), rng.integers(0, C, N))


def likelihood(history: list[int], clusters: Clusters, c: int) -> float:
    """p(c|u) = n(u, c) / n(u)"""
    return sum(clusters.of_item[item] == c for item in history) / len(history)


def mean(history: list[int], clusters: Clusters, vectors: np.ndarray, c: int) -> np.ndarray:
    """v(u, c): the mean of what the user has had in the cluster; zero where that is nothing."""
    mine = [vectors[item].astype(np.float64) for item in history if clusters.of_item[item] == c]
    return np.mean(mine, axis=0) if mine else np.zeros(D)


def smoothed(own, neighbours, mixing, clusters, vectors):
    """{cluster: (weight, vector)} of one user, written out."""
    neighbours = [one for one in neighbours if one]
    if not own and not neighbours:
        return {}
    share = 1.0 if not own else mixing if neighbours else 0.0
    parts = [(1 - share, own)] + [(share / len(neighbours), one) for one in neighbours]
    found = {}
    for c in range(C):
        weights = [weight * likelihood(history, clusters, c) if weight else 0.0 for weight, history in parts]
        total = sum(weights)
        if total > 0:
            vector = sum(
                weight / total * mean(history, clusters, vectors, c)
                for weight, (_, history) in zip(weights, parts, strict=True)
            )
            found[c] = (total, vector)
    return found


history = st.lists(st.integers(0, N - 1), max_size=6)


@settings(deadline=None)
@given(
    own=st.lists(history, min_size=1, max_size=4),
    others=st.lists(history, min_size=1, max_size=4),
    mixing=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_mixtures_are_those_of_the_equations(own, others, mixing, seed, data):
    vectors, clusters = world(seed)
    row = st.lists(st.integers(-1, len(others) - 1), min_size=3, max_size=3)
    similar = np.array([data.draw(row) for _ in own])
    found = mixtures_of(jagged(own), clusters, vectors.__getitem__, C, jagged(others), similar, mixing)
    assert len(found) == len(own)
    for user, history in enumerate(own):
        # no neighbours at all are asked for where nothing is mixed in
        theirs = [others[one] for one in similar[user] if one >= 0] if mixing else []
        expected = smoothed(history, theirs, mixing, clusters, vectors)
        mine = slice(found.offsets[user], found.offsets[user + 1])
        assert set(found.clusters[mine].tolist()) == set(expected)
        assert found.weights[mine].sum() == pytest.approx(1.0 if expected else 0.0)
        assert (np.diff(found.weights[mine]) <= 1e-9).all()
        for c, weight, vector in zip(found.clusters[mine], found.weights[mine], found.vectors[mine], strict=True):
            assert weight == pytest.approx(expected[c][0], abs=1e-6)
            np.testing.assert_allclose(vector, expected[c][1], atol=1e-6)


def test_only_the_heaviest_components_are_kept_with_the_weights_that_they_have():
    vectors, _ = world(0)
    clusters = Clusters(np.zeros((C, D), np.float32), np.arange(N) % C)
    found = mixtures_of(jagged([[0, 4, 8, 1, 5, 2], [], [3]]), clusters, vectors.__getitem__, 2)
    assert found.clusters.tolist() == [0, 1, 3]
    assert found.weights.tolist() == pytest.approx([3 / 6, 2 / 6, 1])
    assert found.offsets.tolist() == [0, 2, 2, 3]
    assert found.users.tolist() == [0, 0, 2] and found.places.tolist() == [0, 1, 0]


def test_one_cluster_and_no_smoothing_is_the_mean_of_the_history():
    vectors, _ = world(1)
    one = Clusters(np.zeros((1, D), np.float32), np.zeros(N, np.int64))
    found = mixtures_of(jagged([[0, 3, 3], [7]]), one, vectors.__getitem__, 5)
    np.testing.assert_allclose(found.vectors, [vectors[[0, 3, 3]].mean(axis=0), vectors[7]], rtol=1e-6)


def test_equal_weights_stand_in_the_order_of_their_clusters():
    vectors, _ = world(2)
    clusters = Clusters(np.zeros((C, D), np.float32), np.arange(N) % C)
    assert mixtures_of(jagged([[3, 2, 1]]), clusters, vectors.__getitem__, 2).clusters.tolist() == [1, 2]


def test_a_user_of_ten_thousand_items_and_one_of_none():
    vectors, clusters = world(3)
    many = np.random.default_rng(0).integers(0, N, 10_000).tolist()
    found = mixtures_of(jagged([many, []]), clusters, vectors.__getitem__, C)
    assert found.weights.sum() == pytest.approx(1) and found.offsets[2] == found.offsets[1]
    nobody = mixtures_of(jagged([[], []]), clusters, vectors.__getitem__, C)
    assert nobody.vectors.shape == (0, D) and nobody.offsets.tolist() == [0, 0, 0]


def test_an_interest_whose_items_say_nothing_does_not_ask():
    vectors, _ = world(5)
    clusters = Clusters(np.zeros((C, D), np.float32), np.arange(N) % C)
    vectors[[0, 4]] = 0
    found = mixtures_of(jagged([[1, 0, 4], [0], [2]]), clusters, vectors.__getitem__, C)
    assert found.clusters.tolist() == [1, 2] and found.offsets.tolist() == [0, 1, 1, 2]
    assert found.weights.tolist() == pytest.approx([1 / 3, 1]) and found.examples.tolist() == [1, 2]


def test_items_that_the_catalogue_lacks():
    vectors, clusters = world(4)
    with pytest.raises(InputError, match="item rows from 1 to 99, of 12"):
        mixtures_of(jagged([[1, 99]]), clusters, vectors.__getitem__, C)
