"""Popularity, ranked."""

import numpy as np

from features.batches import Jagged, JaggedArray
from recsys.baselines import Popularity
from recsys.top_k import full_ranking


def array(rows: list[list[int]]) -> JaggedArray:
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    return JaggedArray(values, np.cumsum([0] + [len(row) for row in rows]))


def jagged(rows: list[list[int]]) -> Jagged:
    return array(rows).take(np.arange(len(rows)))


def test_popularity_ranks_the_most_frequent_unseen_items():
    train = array([[3, 1], [3, 2], [3, 1, 0], [4]])
    model = Popularity().fit(train, n_items=6)
    ranking = full_ranking(model.scorer(train), 4, 6, 3, seen=jagged([[3, 1], [3, 2], [3, 1, 0], [4]]))
    assert ranking.rows.tolist() == [[0, 2, 4], [1, 0, 4], [2, 4, 5], [3, 1, 0]]
    assert model.counts.tolist() == [1, 2, 1, 3, 1, 0]  # the ranking wrote to a copy
