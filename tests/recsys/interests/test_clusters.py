import numpy as np
import pytest

from features.errors import InputError
from recsys.interests import Clusters, ClustersConfig


def blobs(rng: np.random.Generator, centres: np.ndarray, each: int = 30) -> np.ndarray:
    return (np.repeat(centres, each, axis=0) + rng.normal(0, 0.05, (each * len(centres), centres.shape[1]))).astype(
        np.float32
    )


def test_finds_the_groups_that_are_there(rng):
    vectors = blobs(rng, np.eye(4))
    clusters = Clusters.fit(vectors, ClustersConfig(clusters=4))
    groups = clusters.of_item.reshape(4, 30)
    assert (groups == groups[:, :1]).all() and len(set(groups[:, 0].tolist())) == 4


def test_directions_alone_count_where_it_is_spherical(rng):
    vectors = np.concatenate([blobs(rng, np.eye(2)), 9 * blobs(rng, np.eye(2))])
    spherical = Clusters.fit(vectors, ClustersConfig(clusters=2)).of_item.reshape(4, 30)
    assert (spherical[0] == spherical[2]).all() and (spherical[0] != spherical[1]).all()
    flat = Clusters.fit(vectors, ClustersConfig(clusters=3, spherical=False)).of_item.reshape(4, 30)
    assert (flat[0] != flat[2]).all()


def test_is_the_same_with_the_same_seed(rng):
    vectors = rng.normal(size=(500, 8)).astype(np.float32)
    one, two = (Clusters.fit(vectors, ClustersConfig(clusters=7, seed=3)) for _ in range(2))
    assert np.array_equal(one.of_item, two.of_item) and np.array_equal(one.centroids, two.centroids)


def test_there_are_never_more_clusters_than_different_items():
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    clusters = Clusters.fit(vectors, ClustersConfig(clusters=100))
    assert len(clusters) == 3 and clusters.of_item[0] == clusters.of_item[1]
    assert np.isfinite(clusters.centroids).all()


@pytest.mark.parametrize("setting", ["clusters", "iterations", "sample"])
def test_settings_that_cannot_be(setting):
    with pytest.raises(InputError, match=f"{setting} of the item clusters is at least 1, got 0"):
        ClustersConfig(**{setting: 0})


def test_vectors_that_cannot_be():
    with pytest.raises(InputError, match="at least one item vector"):
        Clusters.fit(np.empty((0, 4), np.float32))
    with pytest.raises(InputError, match="finite"):
        Clusters.fit(np.full((3, 4), np.nan, np.float32))


def test_says_how_large_they_are():
    clusters = Clusters(np.zeros((3, 2), np.float32), np.array([0, 0, 2]))
    assert repr(clusters) == "Clusters(3 of 3 items, 0 to 2 each)"
