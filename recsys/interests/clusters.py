"""Item clusters: what an interest can be in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch  # noqa: F401  before faiss: in the other order, OpenMP runtimes have been seen to crash (faiss#2555)

import faiss  # isort: skip

from features.errors import InputError
from recsys.directions import directions
from recsys.index_kinds import checked_vectors


@dataclass(frozen=True)
class ClustersConfig:
    """How items are clustered.

    Args:
        clusters: How many; no more than there are items.
        spherical: Cluster by direction alone, with centroids of length 1.
        iterations: Of Lloyd's algorithm.
        sample: Vectors that the centroids are learned from, for each cluster; all, where there are fewer.
        seed: Of the sample and of the first centroids.
    """

    clusters: int = 100
    spherical: bool = True
    iterations: int = 20
    sample: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clusters", "iterations", "sample"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise InputError(f"{name} of the item clusters is at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed of the item clusters is from 0 to 2147483647, got {self.seed}")


@dataclass(frozen=True, eq=False)
class Clusters:
    """Which cluster each item belongs to.

    Args:
        centroids: (C, D) float32
        of_item: (N,) int64
    """

    centroids: np.ndarray
    of_item: np.ndarray

    def __len__(self) -> int:
        return len(self.centroids)

    def __repr__(self) -> str:
        sizes = np.bincount(self.of_item, minlength=len(self))
        return f"Clusters({len(self)} of {len(self.of_item):,} items, {sizes.min()} to {sizes.max()} each)"

    @classmethod
    def fit(cls, vectors: np.ndarray, config: ClustersConfig = ClustersConfig()) -> Clusters:
        """k-means of the items' vectors.

        Items whose vector is zero say nothing of themselves; they are members of whichever cluster comes out first.

        Args:
            vectors: (N, D) float32
            config: How.

        Raises:
            InputError: No item, or vectors that are not finite.

        Example:
            >>> clusters = Clusters.fit(np.array([[1, 0], [2, 0.1], [0, 3]], np.float32), ClustersConfig(clusters=2))
            >>> clusters.of_item[0] == clusters.of_item[1] != clusters.of_item[2]
            np.True_
        """
        vectors = checked_vectors(vectors, "item vectors", None)
        if not len(vectors):
            raise InputError("item clusters need at least one item vector, got 0")
        if config.spherical:
            vectors = directions(vectors)
        # two items of the same vector cannot be two clusters: FAISS would split one in halves that differ by nothing
        clusters = min(config.clusters, len(np.unique(vectors, axis=0)))
        means = faiss.Kmeans(
            vectors.shape[1],
            clusters,
            niter=config.iterations,
            spherical=config.spherical,
            seed=config.seed,
            min_points_per_centroid=1,
            max_points_per_centroid=config.sample,
        )
        means.train(vectors)
        assert means.centroids is not None
        return cls(means.centroids, means.assign(vectors)[1].astype(np.int64))
