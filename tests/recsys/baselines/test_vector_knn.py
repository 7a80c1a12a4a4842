"""Vector-kNN against cosines of numpy, one pair of items at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.errors import InputError
from recsys.baselines import VectorKNN, VectorKNNConfig

N = 6


def _array(rows: list[list[int]]) -> JaggedArray:
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    return JaggedArray(values, np.cumsum([0] + [len(row) for row in rows]))


def _slow(vectors: np.ndarray, histories: list[list[int]], config: VectorKNNConfig) -> np.ndarray:
    scores = np.zeros((len(histories), N))
    for user, history in enumerate(histories):
        for place, item in enumerate(reversed(history)):
            if item >= 0 and (not config.recent or place < config.recent):
                for candidate in range(N):
                    norms = np.linalg.norm(vectors[item]) * np.linalg.norm(vectors[candidate])
                    cosine = vectors[item] @ vectors[candidate] / norms if norms else 0.0
                    scores[user, candidate] += config.decay**place * cosine
    return scores


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.lists(st.integers(-1, N - 1), max_size=6), min_size=1, max_size=4),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([1.0, 0.5]),
)
def test_scores_are_sums_of_cosines(seed: int, histories: list[list[int]], recent: int, decay: float) -> None:
    vectors = np.random.default_rng(seed).normal(size=(N, 4)).astype(np.float32)
    vectors[seed % N] = 0  # an item without a text
    config = VectorKNNConfig(recent, decay)
    model = VectorKNN(config).fit(vectors)
    users = _array(histories).take(np.arange(len(histories)))
    scores = model.scores(users)
    np.testing.assert_allclose(scores.numpy(), _slow(vectors, histories, config), atol=1e-5)
    np.testing.assert_allclose(model.scores(users, slice(1, 4)).numpy(), scores[:, 1:4].numpy(), atol=1e-6)
    assert scores.numpy().dtype == np.float32


def test_it_says_what_it_is_in_its_errors() -> None:
    with pytest.raises(InputError, match="vector-knn's recent is 0 or more, got -1"):
        VectorKNNConfig(recent=-1)
    with pytest.raises(InputError, match=r"vector-knn's decay is in \(0, 1\], got 2"):
        VectorKNNConfig(decay=2)
