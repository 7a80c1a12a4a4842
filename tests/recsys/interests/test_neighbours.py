import numpy as np
import pytest

from features.errors import InputError
from recsys.index import IndexConfig
from recsys.interests import InterestsConfig, SimilarUsers


def test_finds_the_highest_cosines_and_never_oneself(rng):
    vectors = rng.normal(size=(40, 6)).astype(np.float32) * rng.uniform(0.1, 9, (40, 1)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    found = SimilarUsers.fit(vectors).of(vectors, 5, np.arange(40))
    assert np.array_equal(found, np.argsort(-cosines, axis=1)[:, :5])


def test_somebody_new_has_neighbours_and_somebody_without_a_vector_has_none(rng):
    vectors = rng.normal(size=(10, 4)).astype(np.float32)
    users = SimilarUsers.fit(vectors, IndexConfig(kind="hnsw"))
    found = users.of(np.stack([2 * vectors[3], np.zeros(4, np.float32)]), 3, np.array([-1, -1]))
    assert found[0, 0] == 3 and found[1].tolist() == [-1, -1, -1]


def test_there_may_be_fewer_users_than_neighbours(rng):
    vectors = rng.normal(size=(3, 4)).astype(np.float32)
    assert SimilarUsers.fit(vectors).of(vectors, 5, np.arange(3))[:, 2:].tolist() == [[-1] * 3] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"components": 0}, "interests.components is at least 1, got 0"),
        ({"neighbours": -1}, "interests.neighbours is 0 or more, got -1"),
        ({"mixing": 1.5}, "interests.mixing is from 0 to 1, got 1.5"),
        ({"depth": 0}, "interests.depth is at least 1, got 0"),
        ({"clusters": 20}, "interests.clusters is a ClustersConfig, got 20"),
        ({"mixing": "all"}, "interests.mixing is a number, got 'all'"),
        ({"order": "score"}, "interests.order is .user. or .weight., got .score."),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        InterestsConfig(**settings)
