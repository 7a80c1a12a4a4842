import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from recsys.index import ItemIndex
from recsys.interests import Mixtures, largest_remainder, retrieve

N, D = 25, 4


def mixtures(weights: list[list[float]], seed: int) -> Mixtures:
    """Users with these components, the heaviest first, that ask with random vectors."""
    rng = np.random.default_rng(seed)
    flat = np.array([one for row in weights for one in sorted(row, reverse=True)])
    offsets = np.cumsum([0, *map(len, weights)]).astype(np.int64)
    vectors = rng.normal(size=(len(flat), D)).astype(np.float32)
    return asking(np.arange(len(flat)), flat, vectors, offsets)


def asking(clusters: np.ndarray, weights: np.ndarray, vectors: np.ndarray, offsets: np.ndarray) -> Mixtures:
    """Components without examples."""
    return Mixtures(clusters, weights, vectors, offsets, np.full(len(clusters), -1), np.zeros(len(clusters), bool))


def by_hand(one: Mixtures, user: int, vectors: np.ndarray, k: int, seen: set[int]) -> list[tuple[int, int, float]]:
    """(item, component, score) of one user, a component after the other."""
    mine = range(one.offsets[user], one.offsets[user + 1])
    counts = largest_remainder(one.weights[None, mine.start : mine.stop], k)[0]
    taken, answer = set(seen), []
    for component, count in zip(mine, counts.tolist(), strict=True):
        scores = vectors.astype(np.float64) @ one.vectors[component].astype(np.float64)
        nearest = [item for item in np.lexsort((np.arange(N), -scores.astype(np.float32))).tolist()]
        found = [item for item in nearest if item not in taken][:count]
        answer += [(item, component, one.weights[component] / (n + 0.5)) for n, item in enumerate(found)]
        taken |= set(found)
    return sorted(answer, key=lambda each: -np.float32(each[2]))


share = st.floats(0.05, 1).map(lambda one: round(one, 2))


@settings(deadline=None)
@given(
    weights=st.lists(st.lists(share, max_size=5), min_size=1, max_size=4),
    k=st.integers(1, 40),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_lists_are_those_of_the_definition(weights, k, seed, data):
    asked = mixtures(weights, seed)
    vectors = np.random.default_rng(seed + 1).normal(size=(N, D)).astype(np.float32)
    seen = [sorted(data.draw(st.sets(st.integers(0, N - 1), max_size=N))) for _ in weights]
    index = ItemIndex.build(vectors)
    lengths = [len(one) for one in seen]
    exclude = JaggedArray(np.concatenate(seen).astype(np.int64), np.cumsum([0, *lengths]).astype(np.int64))
    found = retrieve(asked, index.search, k, exclude)
    assert found.rows.shape == (len(weights), k)
    for user in range(len(weights)):
        items = found.rows[user][found.rows[user] >= 0].tolist()
        assert len(set(items)) == len(items) and not set(items) & set(seen[user])
        assert len(items) == (min(k, N - len(seen[user])) if weights[user] else 0)
        expected = by_hand(asked, user, vectors, k, set(seen[user]))
        assert items == [item for item, _, _ in expected]
        assert found.components[user, : len(items)].tolist() == [one for _, one, _ in expected]
        np.testing.assert_allclose(found.scores[user, : len(items)], [score for _, _, score in expected], rtol=1e-6)
        assert (found.rows[user, len(items) :] == -1).all() and (found.components[user, len(items) :] == -1).all()


def test_one_component_is_a_search(rng):
    vectors = rng.normal(size=(N, D)).astype(np.float32)
    index, asked = ItemIndex.build(vectors), mixtures([[1.0], [1.0]], 0)
    assert np.array_equal(retrieve(asked, index.search, 10).rows, index.search(asked.vectors, 10)[1])


def test_components_that_find_the_same_share_it_out():
    """Two components that ask alike: the lighter one goes on where the heavier one has stopped."""
    vectors = np.eye(6, 2, dtype=np.float32) + np.linspace(0.5, 0, 6, dtype=np.float32)[:, None]
    query = np.ones((2, 2), np.float32)
    asked = asking(np.array([0, 1]), np.array([0.6, 0.4]), query, np.array([0, 2]))
    found = retrieve(asked, ItemIndex.build(vectors).search, 5)
    best = ItemIndex.build(vectors).search(query[:1], 5)[1][0]
    assert found.rows[0, found.components[0] == 0].tolist() == best[:3].tolist()
    assert found.rows[0, found.components[0] == 1].tolist() == best[3:].tolist()
    # 0.6/0.5, 0.4/0.5, 0.6/1.5, 0.4/1.5, 0.6/2.5
    assert found.components.tolist() == [[0, 1, 0, 1, 0]]
    assert found.scores[0].tolist() == pytest.approx([1.2, 0.8, 0.4, 0.4 / 1.5, 0.24])


def test_users_without_an_interest_and_no_users():
    index = ItemIndex.build(np.eye(3, dtype=np.float32))
    nothing = asking(np.empty(0, np.int64), np.empty(0), np.empty((0, 3), np.float32), np.zeros(3, np.int64))
    found = retrieve(nothing, index.search, 2)
    assert found.rows.tolist() == [[-1, -1]] * 2 and found.scores.tolist() == [[0, 0]] * 2
    nobody = asking(np.empty(0, np.int64), np.empty(0), np.empty((0, 3), np.float32), np.zeros(1, np.int64))
    assert retrieve(nobody, index.search, 2).rows.shape == (0, 2)


def test_a_zero_vector_is_answered_in_the_order_of_rows():
    index = ItemIndex.build(np.eye(4, dtype=np.float32))
    asked = asking(np.array([0]), np.ones(1), np.zeros((1, 4), np.float32), np.array([0, 1]))
    assert retrieve(asked, index.search, 3).rows.tolist() == [[0, 1, 2]]
