"""Item-kNN, against loops written from its definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import Jagged, JaggedArray
from features.errors import InputError
from recsys.baselines import ItemKNN, ItemKNNConfig
from recsys.top_k import full_ranking


def jagged(rows: list[list[int]]) -> Jagged:
    return array(rows).take(np.arange(len(rows)))


def array(rows: list[list[int]]) -> JaggedArray:
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    return JaggedArray(values, np.cumsum([0] + [len(row) for row in rows]))


def slow_item_knn(rows: list[list[int]], n_items: int, neighbours: int, shrinkage: float, asked: list[list[int]]):
    users_of = [{user for user, row in enumerate(rows) if item in row} for item in range(n_items)]
    scores = np.zeros((len(asked), n_items))
    for candidate in range(n_items):
        similar = []
        for other in range(n_items):
            both = len(users_of[candidate] & users_of[other])
            if other != candidate and both:
                norm = math.sqrt(len(users_of[candidate]) * len(users_of[other])) + shrinkage
                similar.append((-np.float32(both) / np.float32(norm), other))
        nearest = {other: -value for value, other in sorted(similar)[:neighbours]}
        for user, history in enumerate(asked):
            scores[user, candidate] = sum(nearest.get(item, 0.0) for item in set(history))
    return scores


histories = st.lists(st.lists(st.integers(0, 11), max_size=8), min_size=1, max_size=12)


@settings(max_examples=80, deadline=None)
@given(histories, st.integers(1, 12), st.sampled_from([0.0, 1.0, 10.0]), st.integers(1, 200))
def test_item_knn_follows_its_definition_whatever_the_blocks(rows, neighbours, shrinkage, block_entries):
    config = ItemKNNConfig(neighbours, shrinkage, block_entries)
    model = ItemKNN(config).fit(array(rows), n_items=12)
    asked = [[0, 3, 3, 7], [], [11]]
    expected = slow_item_knn(rows, 12, neighbours, shrinkage, asked)
    scores = model.scores(jagged(asked))
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.scores(jagged(asked), slice(4, 9)).numpy(), scores[:, 4:9].numpy())


def test_item_knn_keeps_no_more_neighbours_than_it_is_told():
    rows = np.random.default_rng(0).integers(0, 50, size=(200, 10)).tolist()
    model = ItemKNN(ItemKNNConfig(neighbours=5)).fit(array(rows), n_items=50)
    assert np.diff(model.similarities.tocsc().indptr).max() == 5
    assert model.similarities.diagonal().max() == 0


def test_an_unknown_item_in_a_history_is_ignored():
    model = ItemKNN().fit(array([[0, 1], [1, 2]]), n_items=3)
    assert torch.equal(model.scores(jagged([[-1, 0]])), model.scores(jagged([[0]])))


def test_item_knn_without_any_co_occurrence_scores_nothing():
    model = ItemKNN().fit(array([[0], [1], []]), n_items=3)
    assert model.scores(jagged([[0, 1, 2]])).tolist() == [[0.0, 0.0, 0.0]]


def test_a_ranking_in_chunks_is_that_of_all_scores():
    random = np.random.default_rng(1)
    train = array([random.integers(0, 40, size=random.integers(0, 9)).tolist() for _ in range(30)])
    model = ItemKNN(ItemKNNConfig(neighbours=8)).fit(train, n_items=40)
    ranking = full_ranking(model.scorer(train), 30, 40, 5)
    scores = model.scores(train.take(np.arange(30)))
    assert torch.equal(ranking.rows, scores.sort(dim=1, descending=True, stable=True).indices[:, :5])


def test_settings_out_of_range_are_named():
    with pytest.raises(InputError, match="neighbours"):
        ItemKNNConfig(neighbours=0)
    with pytest.raises(InputError, match="shrinkage"):
        ItemKNNConfig(shrinkage=-1.0)
