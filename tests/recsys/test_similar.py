"""Similar items against brute force, for every kind of index, precision and chunk."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.index import IndexConfig, ItemIndex
from recsys.similar import Neighbours
from recsys.top_k import Chunks


def brute_force(vectors, rows, k):
    """Lists of (row, cosine), best first, ties by row; made one pair at a time."""
    wide = vectors.astype(np.float64)
    lists = []
    for row in rows:
        scores = []
        for other in range(len(wide)):
            lengths = np.linalg.norm(wide[row]) * np.linalg.norm(wide[other])
            if other != row and lengths > 0:
                scores.append((-float(np.float32(wide[row] @ wide[other] / lengths)), other))
        lists.append([(other, -score) for score, other in sorted(scores)[:k]])
    return lists


def made(n=200, dim=6, seed=0):
    """Vectors of many lengths, some twice, some zero."""
    random = np.random.default_rng(seed)
    vectors = (random.normal(size=(n, dim)) * 10.0 ** random.uniform(-3, 3, (n, 1))).astype(np.float32)
    vectors[50:90] = vectors[7]
    vectors[[3, 150]] = 0
    return vectors


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_it_is_the_brute_force_ranking_of_what_is_stored(monkeypatch, kind, precision):
    index = ItemIndex.build(made(), IndexConfig(kind), precision=precision)
    rows = np.array([0, 7, 60, 199, 7])
    stored = index.stored(0).copy()
    for chunks in (Chunks(256, 16_384), Chunks(2, 30)):
        monkeypatch.setattr("recsys.similar._CHUNKS", chunks)
        for k in (1, 12, 45, 500):
            scores, found = Neighbours(index).of(rows, k)
            assert scores.shape == found.shape == (5, k)
            assert scores.dtype == np.float32
            for n, expected in enumerate(brute_force(stored, rows, k)):
                there = found[n] >= 0
                assert found[n, there].tolist() == [row for row, _ in expected]
                assert scores[n, there].tolist() == pytest.approx([score for _, score in expected], abs=1e-6)
                assert (scores[n, ~there] == -np.inf).all()


def test_the_answer_does_not_change_with_what_else_is_asked():
    index = ItemIndex.build(made(3000, 16))
    together = Neighbours(index).of(np.arange(3000), 20)
    for row in (0, 60, 1234):
        alone = Neighbours(index).of(np.array([row]), 20)
        assert alone[1][0].tolist() == together[1][row].tolist()
        assert alone[0][0].tolist() == together[0][row].tolist()


def test_a_vector_of_zeros_is_similar_to_nothing():
    index = ItemIndex.build(made())
    assert (Neighbours(index).of(np.array([3]), 5)[1] == -1).all()
    assert not np.isin([3, 150], Neighbours(index).of(np.array([0]), 199)[1]).any()


def test_only_the_columns_that_count_are_compared():
    vectors = np.array([[1, 0, 9], [1, 1, 9], [2, 0.1, -9]], dtype=np.float32)
    index = ItemIndex.build(vectors)
    assert Neighbours(index).of(np.array([0]), 2)[1].tolist() == [[1, 2]]
    assert Neighbours(index, width=2).of(np.array([0]), 2)[1].tolist() == [[2, 1]]


def test_vectors_beyond_what_float32_multiplies_are_compared_too():
    vectors = made(200, 4)[10:50] * np.float32(10) ** np.linspace(-36, 34, 40, dtype=np.float32)[:, None]
    rows = np.array([0, 20, 39])
    scores, found = Neighbours(ItemIndex.build(vectors)).of(rows, 7)
    for n, expected in enumerate(brute_force(vectors, rows, 7)):
        assert found[n].tolist() == [row for row, _ in expected]
        assert scores[n].tolist() == pytest.approx([score for _, score in expected], abs=1e-6)


def test_nothing_asked_is_nothing_answered():
    scores, rows = Neighbours(ItemIndex.build(made())).of(np.empty(0, np.int64), 4)
    assert scores.shape == rows.shape == (0, 4)
