"""The three retrievers over one model's vectors: a single query, a mixture of interests, and a smoothed one."""

from __future__ import annotations

import dataclasses

import numpy as np

from features.batches import JaggedArray
from features.errors import InputError
from recsys.directions import directions
from recsys.index import IndexConfig, ItemIndex
from recsys.interests.clusters import Clusters
from recsys.interests.config import InterestsConfig, RetrieverKind
from recsys.interests.mixtures import Histories, Mixtures, mixtures_of
from recsys.interests.neighbours import SimilarUsers
from recsys.interests.retrieval import Retrieved, retrieve


class KNNEmbed:
    """Retrieves for users as mixtures of interests, from the vectors of any model.

    - "unimodal" asks with the user's own vector, as everybody does;
    - "mixture" with one vector for each of the user's interests;
    - "smoothed" with those, smoothed by the users who are most like this one.

    Args:
        config: How.
        clusters: Of the items.
        index: Of the items' vectors. (N, D)
        users: Whom mixtures are smoothed by, by the vectors that the same model makes of them. (U, D)
        histories: Gives what those have had.
        width: How many of the first columns say what an item is like, such as all but an item bias; components take
            the others from the user's own vector, and its length. All where not given.

    Example:
        >>> from recsys.interests import ClustersConfig
        >>> items = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
        >>> histories = JaggedArray(np.array([0, 2, 0]), np.array([0, 2, 3]))
        >>> users = np.stack([items[[0, 2]].mean(axis=0), items[0]])
        >>> config = InterestsConfig(neighbours=1, clusters=ClustersConfig(clusters=2))
        >>> knn_embed = KNNEmbed.fit(items, histories, users, config)
        >>> knn_embed.retrieve("mixture", histories, users, k=2, seen=histories).rows.tolist()
        [[1, 3], [1, 3]]
    """

    def __init__(
        self,
        config: InterestsConfig,
        clusters: Clusters,
        index: ItemIndex,
        users: SimilarUsers,
        histories: Histories,
        width: int | None = None,
    ) -> None:
        self.config = config
        self.clusters = clusters
        self.index = index
        self.users = users
        self.histories = histories
        self.width = index.dim if width is None else width
        # no copy of what an index of fp32 holds
        self._vectors = np.ascontiguousarray(index.stored(0, len(index))[:, : self.width])

    @classmethod
    def fit(
        cls,
        items: np.ndarray,
        histories: JaggedArray,
        users: np.ndarray,
        config: InterestsConfig,
        *,
        item_index: IndexConfig | None = None,
        user_index: IndexConfig | None = None,
        width: int | None = None,
    ) -> KNNEmbed:
        """Clusters the items and indexes both sides.

        Args:
            items: The items' vectors. (N, D) float32
            histories: What known users have had. (U rows)
            users: What the model makes of them; whose inner product with the items' ranks these. (U, D) float32
            config: How.
            item_index: How items are searched.
            user_index: How similar users are.
            width: As of the class.

        Raises:
            InputError: Sides that do not fit each other, or vectors that are not finite.
        """
        if len(histories) != len(users):
            raise InputError(f"there are {len(histories)} histories of users and {len(users)} vectors of them")
        if items.shape[1] != users.shape[1]:
            raise InputError(f"items have vectors of {items.shape[1]} numbers and users of {users.shape[1]}")
        width = items.shape[1] if width is None else width
        clusters = Clusters.fit(items[:, :width], config.clusters)
        index = ItemIndex.build(items, item_index)
        return cls(config, clusters, index, SimilarUsers.fit(users[:, :width], user_index), histories.rows, width)

    def mixtures(
        self, kind: RetrieverKind, own: JaggedArray, vectors: np.ndarray, themselves: np.ndarray | None = None
    ) -> Mixtures:
        """What B users ask with: of whom there are no interests, with the user's own vector.

        Args:
            kind: Which retriever's.
            own: Their histories. (B rows)
            vectors: What the model makes of them. (B, D) float32
            themselves: Their rows among the known users, who are not their own neighbours; -1 for none. (B,)
        """
        if kind == "unimodal":
            return Mixtures.equal(vectors[:, None])
        similar = None
        if kind == "smoothed" and self.config.neighbours and self.config.mixing:
            similar = self.users.of(vectors[:, : self.width], self.config.neighbours, themselves)
        found = mixtures_of(
            own, self.clusters, self._vectors, self.config.components, self.histories, similar, self.config.mixing
        )
        if self.width < vectors.shape[1]:
            found = dataclasses.replace(found, vectors=_like_users(found, vectors, self.width))
        return found.or_single(vectors)

    def retrieve(
        self,
        kind: RetrieverKind,
        own: JaggedArray,
        vectors: np.ndarray,
        k: int,
        seen: JaggedArray | None = None,
        themselves: np.ndarray | None = None,
    ) -> Retrieved:
        """The k candidates of each of B users.

        Args:
            kind: By which retriever.
            own: Their histories. (B rows)
            vectors: What the model makes of them. (B, D) float32
            k: How many.
            seen: Item rows that each user's answer leaves out. (B rows)
            themselves: As of `mixtures`. (B,)
        """
        return retrieve(self.mixtures(kind, own, vectors, themselves), self.index.search, k, seen)


def _like_users(mixtures: Mixtures, vectors: np.ndarray, width: int) -> np.ndarray:
    """Components as long as their user's vector, with its other columns: a bias weighs as it does for the user. (M, D)

    Args:
        mixtures: Of B users, of `width` columns.
        vectors: The users'. (B, D)
        width: How many columns say what an item is like.
    """
    lengths = np.linalg.norm(vectors[:, :width], axis=1, keepdims=True)
    theirs = directions(mixtures.vectors) * lengths[mixtures.users]
    return np.concatenate([theirs, vectors[mixtures.users, width:]], axis=1).astype(np.float32)
