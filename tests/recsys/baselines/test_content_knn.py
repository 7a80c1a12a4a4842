"""Content-kNN against cosines of dictionaries."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.errors import InputError
from features.feature_table import FeatureTable
from recsys.baselines import ContentKNN, ContentKNNConfig


def array(rows: list[list[int]]) -> JaggedArray:
    values = np.array([value for row in rows for value in row], dtype=np.int64)
    return JaggedArray(values, np.cumsum([0] + [len(row) for row in rows]))


def slow(items: list[set[tuple[str, int]]], histories: list[list[int]], config: ContentKNNConfig) -> np.ndarray:
    holders: dict[tuple[str, int], int] = {}
    for one in items:
        for value in one:
            holders[value] = holders.get(value, 0) + 1
    weigh = {value: math.log(len(items) / n) if config.rarity else 1.0 for value, n in holders.items()}

    def cosine(one: set, other: set) -> float:
        norms = [math.sqrt(sum(weigh[value] ** 2 for value in each)) for each in (one, other)]
        return sum(weigh[value] ** 2 for value in one & other) / (norms[0] * norms[1]) if all(norms) else 0.0

    scores = np.zeros((len(histories), len(items)))
    for user, history in enumerate(histories):
        for place, item in enumerate(reversed(history)):
            if item >= 0 and (not config.recent or place < config.recent):
                for candidate, values in enumerate(items):
                    scores[user, candidate] += config.decay**place * cosine(items[item], values)
    return scores


values = st.lists(st.integers(-1, 4), max_size=4, unique=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(values, values), min_size=6, max_size=6),
    st.lists(st.lists(st.integers(-1, 5), max_size=6), min_size=1, max_size=4),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([1.0, 0.5]),
    st.booleans(),
)
def test_scores_are_sums_of_cosines(described, histories, recent, decay, rarity) -> None:
    config = ContentKNNConfig(recent, decay, rarity)
    table = FeatureTable({name: array([one[at] for one in described]) for at, name in enumerate("ab")}, {}, 6)
    model = ContentKNN(config).fit(table, ["a", "b"])
    sets = [
        {(name, one) for name, part in zip("ab", both, strict=True) for one in part if one >= 0} for both in described
    ]
    scores = model.scores(array(histories).take(np.arange(len(histories))))
    np.testing.assert_allclose(scores.numpy(), slow(sets, histories, config), atol=1e-5)
    some = model.scores(array(histories).take(np.arange(len(histories))), slice(1, 4))
    np.testing.assert_allclose(some.numpy(), scores[:, 1:4].numpy(), atol=1e-6)


def test_what_it_cannot_do_is_told() -> None:
    table = FeatureTable({"a": array([[0]])}, {}, 1)
    with pytest.raises(InputError, match="reads 'b', which is none of a"):
        ContentKNN().fit(table, ["a", "b"])
    with pytest.raises(InputError, match="at least one item feature"):
        ContentKNN().fit(table, [])
    with pytest.raises(InputError, match="recent"):
        ContentKNNConfig(recent=-1)
    with pytest.raises(InputError, match="decay"):
        ContentKNNConfig(decay=0)
