"""EASE against what it minimises, and against regressions of one item by the others."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.errors import InputError
from recsys.baselines import EASE, EASEConfig
from recsys.baselines.ease import MOST_ITEMS


def array(rows: list[list[int]]) -> JaggedArray:
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    return JaggedArray(values, np.cumsum([0] + [len(row) for row in rows]))


def matrix(rows: list[list[int]], n_items: int) -> np.ndarray:
    return np.array([[float(item in row) for item in range(n_items)] for row in rows])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 7), max_size=8), min_size=1, max_size=12), st.sampled_from([0.5, 3.0, 100.0]))
def test_each_item_is_a_ridge_regression_on_the_others(rows: list[list[int]], l2: float) -> None:
    model = EASE(EASEConfig(l2)).fit(array(rows), n_items=8)
    users = matrix(rows, 8)
    expected = np.zeros((8, 8))
    for item in range(8):
        others = [one for one in range(8) if one != item]
        inputs = users[:, others]
        solved = np.linalg.solve(inputs.T @ inputs + l2 * np.eye(7), inputs.T @ users[:, item])
        expected[others, item] = solved
    np.testing.assert_allclose(model.weights.numpy(), expected, atol=1e-6)
    asked = [[0, 3, 3, 7, -1], [], [5]]
    scores = model.scores(array(asked).take(np.arange(3)))
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores.numpy(), matrix(asked, 8) @ expected, atol=1e-5)
    some = model.scores(array(asked).take(np.arange(3)), slice(2, 5))
    np.testing.assert_allclose(some.numpy(), scores[:, 2:5].numpy(), atol=1e-6)


def test_what_it_cannot_do_is_told() -> None:
    with pytest.raises(InputError, match="for 20,000 items at most, not for 20,001"):
        EASE().fit(array([[0]]), MOST_ITEMS + 1)
    with pytest.raises(InputError, match="l2 is a positive number, got 0"):
        EASEConfig(l2=0)
