"""Trees as arrays: they say what LightGBM says, and nothing else is taken for trees."""

import lightgbm
import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from recsys.matching.trees import Trees


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    random = np.random.default_rng(0)
    found = random.random((3000, 6)).astype(np.float32)
    found[random.random(found.shape) < 0.3] = -1
    found[:, 5] = found[:, 5].round(1)
    return found


@pytest.fixture(scope="module")
def booster(numbers: np.ndarray) -> lightgbm.Booster:
    labels = ((numbers[:, 0] > 0.5) ^ (numbers[:, 1] > numbers[:, 2])).astype(np.float32)
    settings = {"objective": "cross_entropy", "use_missing": False, "verbose": -1, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(numbers, labels), num_boost_round=40)


@pytest.fixture(scope="module")
def trees(booster: lightgbm.Booster) -> Trees:
    return Trees.of(booster)


def test_they_say_what_lightgbm_says(booster: lightgbm.Booster, trees: Trees, numbers: np.ndarray) -> None:
    expected = booster.predict(numbers, raw_score=True)
    np.testing.assert_allclose(trees.sums(numbers), expected, atol=1e-9)
    assert np.abs(expected).max() > 1 and trees.sums(numbers[:0]).shape == (0,)


def test_a_table_gives_the_same_trees(trees: Trees, numbers: np.ndarray) -> None:
    again = Trees.of_table(trees.table(), 6)
    np.testing.assert_array_equal(again.sums(numbers), trees.sums(numbers))
    assert len(again.roots) == 40 and again.depth == trees.depth > 2


def test_one_leaf_alone_is_a_tree() -> None:
    data = lightgbm.Dataset(np.zeros((10, 1)), np.array([0.0, 1] * 5))
    alone = Trees.of(lightgbm.train({"objective": "cross_entropy", "verbose": -1}, data, num_boost_round=1))
    assert alone.depth == 0 and alone.sums(np.zeros((2, 1))).tolist() == pytest.approx([0, 0])


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("left", 0, 0, "lead nowhere"),  # into a circle
        ("right", 0, -1, "lead nowhere"),
        ("left", 0, 10**6, "lead nowhere"),
        ("right", 0, -2, "lead nowhere"),  # into the next tree: see below
        ("root", 0, False, "lead nowhere"),
        ("feature", 0, 6, "ask for number 6, and pairs have 6"),
        ("feature", 0, -1, "ask for number"),
        ("threshold", 0, float("nan"), "not finite"),
        ("value", 1, float("inf"), "not finite"),
        ("value", 1, None, "with all told"),
    ],
)
def test_what_is_no_tree_is_refused(trees: Trees, column: str, row: int, value: object, message: str) -> None:
    table = trees.table()
    values = table[column].to_list()
    values[row] = int(trees.roots[1]) if value == -2 else value
    broken = table.with_columns(pl.Series(column, values, dtype=table.schema[column]))
    with pytest.raises(InputError, match=message):
        Trees.of_table(broken, 6)


def test_other_tables_are_refused(trees: Trees) -> None:
    for table in (trees.table().drop("value"), trees.table().cast({"left": pl.Int64}), pl.DataFrame({"a": [1]})):
        with pytest.raises(InputError, match=r"the trees are a table of root, feature, threshold"):
            Trees.of_table(table, 6)
    with pytest.raises(InputError, match=r"the trees have 0 nodes"):
        Trees.of_table(trees.table().clear(), 6)
