"""What a bundle knows of interests: clusters of its items, and its users by their likeness."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recsys.index import ItemIndex
from recsys.interests import Clusters, InterestsConfig, KNNEmbed, SimilarUsers
from recsys.interests.mixtures import Histories
from serving.bundles.sealed import BundleError

INTERESTS, CLUSTERS, USERS = "interests.json", "interests.safetensors", "users.faiss"


@dataclass(frozen=True, eq=False)
class BundleInterests:
    """How a bundle makes mixtures of interests.

    Args:
        config: Their settings.
        clusters: Of the items. (N)
        users: Whom mixtures are smoothed by, in the rows of the user vocabulary. (U)
    """

    config: InterestsConfig
    clusters: Clusters
    users: SimilarUsers

    def write(self, folder: Path) -> None:
        """Writes its files into a bundle's folder."""
        (folder / INTERESTS).write_text(json.dumps(self.config.to_json(), indent=1), encoding="utf-8")
        arrays = {"centroids": self.clusters.centroids, "of_item": self.clusters.of_item, "users": self.users.rows}
        save_file(arrays, folder / CLUSTERS)
        assert self.users.index is not None  # `interests_writer` refuses users who are like nobody
        self.users.index.save(folder / USERS)

    @classmethod
    def read(cls, folder: Path, n_users: int, n_items: int, width: int, mmap: bool = False) -> BundleInterests:
        """Reads what `write` wrote.

        Args:
            folder: The bundle's.
            n_users: U
            n_items: N
            width: How many of the vectors' columns say what an item is like.
            mmap: Map the users' index into memory, so that processes share its pages.

        Raises:
            BundleError: Parts that do not belong to the bundle's users and items.
        """
        config = InterestsConfig.from_json(json.loads((folder / INTERESTS).read_text(encoding="utf-8")))
        try:
            arrays = load_file(folder / CLUSTERS)
        except SafetensorError as error:
            raise BundleError(f"{CLUSTERS} cannot be read: {error}") from error
        clusters, rows = Clusters(arrays["centroids"], arrays["of_item"]), arrays["users"]
        users = ItemIndex.load(folder / USERS, mmap=mmap)
        for file, what, found, expected in (
            (CLUSTERS, "items", clusters.of_item.shape, (n_items,)),
            (CLUSTERS, "columns a centroid", clusters.centroids.shape[1:], (width,)),
            (USERS, "users", len(users), len(rows)),
            (USERS, "columns a user", users.dim, width),
        ):
            if found != expected:
                raise BundleError(f"{file} has {what} {found}, and the bundle {expected}")
        of_item = clusters.of_item
        if len(of_item) and not 0 <= of_item.min() <= of_item.max() < len(clusters):
            raise BundleError(
                f"{CLUSTERS} has items of the clusters {of_item.min()} to {of_item.max()}, of {len(clusters)}"
            )
        if not (rows[0] >= 0 and rows[-1] < n_users and (np.diff(rows) > 0).all()):
            raise BundleError(f"{CLUSTERS} names users that are not {n_users:,} rows in order")
        return cls(config, clusters, SimilarUsers(users, rows, n_users))

    def retrievers(self, index: ItemIndex, histories: Histories) -> KNNEmbed:
        """What asks.

        Args:
            index: The bundle's items.
            histories: Of its users.
        """
        width = self.clusters.centroids.shape[1]
        return KNNEmbed(self.config, self.clusters, index, self.users, histories, width)
