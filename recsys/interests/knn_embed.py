"""The three retrievers over one model's vectors: a single query, a mixture of interests, and a smoothed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from features.batches import JaggedArray
from features.errors import InputError
from recsys.directions import directions
from recsys.index import IndexConfig, ItemIndex
from recsys.index_kinds import checked_vectors
from recsys.interests.clusters import Clusters
from recsys.interests.config import KINDS, InterestsConfig, RetrieverKind
from recsys.interests.mixtures import Histories, Mixtures, mixtures_of
from recsys.interests.neighbours import Likeness, SimilarUsers
from recsys.interests.retrieval import Retrieved, Search, retrieve

#: items of histories that are mixed at a time
_ENTRIES = 1 << 22


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
        histories: What those have had. (U rows)
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
        users: Likeness,
        histories: Histories,
        width: int | None = None,
    ) -> None:
        self.config = config
        self.clusters = clusters
        self.index = index
        self.users = users
        self.histories = histories
        self.width = index.dim if width is None else width

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
        return cls(config, clusters, index, SimilarUsers.fit(users[:, :width], user_index), histories, width)

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
        if kind not in KINDS:
            raise InputError(f"the retriever is one of {', '.join(KINDS)}, got {kind!r}")
        vectors = checked_vectors(vectors, "user vectors", self.index.dim)
        _check_as_many(vectors, histories=own, themselves=themselves)
        if kind == "unimodal":
            return Mixtures.equal(vectors[:, None])
        similar = None
        if kind == "smoothed" and self.config.neighbours and self.config.mixing:
            similar = self.users.of(self._likeness(own, vectors), self.config.neighbours, themselves)
        parts = [
            mixtures_of(
                own.rows(users),
                self.clusters,
                lambda rows: self.index.vectors_of(rows)[:, : self.width],
                self.config.components,
                self.histories,
                None if similar is None else similar[users],
                self.config.mixing,
            )
            for users in self._bounded(own, similar)
        ]
        found = parts[0] if len(parts) == 1 else Mixtures.joined(parts)
        if self.width < vectors.shape[1]:
            found = dataclasses.replace(found, vectors=_like_users(found, vectors, self.width))
        return found.or_single(vectors)

    def _likeness(self, own: JaggedArray, vectors: np.ndarray) -> np.ndarray:
        """What users are compared by: their vectors; the mean of the history where the model makes none. (B, width)"""
        vectors = vectors[:, : self.width]
        strangers = np.flatnonzero(~vectors.any(axis=1) & (own.lengths > 0))
        if len(strangers):
            theirs = own.rows(strangers)
            items = self.index.vectors_of(theirs.values)[:, : self.width]
            vectors = vectors.copy()
            vectors[strangers] = np.add.reduceat(items, theirs.offsets[:-1], axis=0) / theirs.lengths[:, None]
        return vectors

    def _bounded(self, own: JaggedArray, similar: np.ndarray | None) -> list[np.ndarray]:
        """Users so many at a time as have `_ENTRIES` items among them and those like them; one at least."""
        entries = own.lengths
        if similar is not None:
            theirs = np.where(similar >= 0, self.histories.lengths_of(np.maximum(similar, 0)), 0)
            entries = entries + theirs.sum(axis=1)
        starts = np.flatnonzero(np.diff(np.cumsum(entries) // _ENTRIES, prepend=-1))
        if len(starts) < 2:
            return [np.arange(len(own))]
        return [np.arange(start, stop) for start, stop in pairwise([0, *starts[1:].tolist(), len(own)])]

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
            vectors: What the model makes of them; zeros of who is only known by the history. (B, D) float32
            k: How many.
            seen: Item rows that each user's answer leaves out. (B rows)
            themselves: As of `mixtures`. (B,)

        Raises:
            InputError: There is no such retriever, or not everything is of as many users.
        """
        _check_as_many(vectors, histories=own, seen=seen, themselves=themselves)
        if k < 0:
            raise InputError(f"k is 0 or more, got {k}")
        mixtures = self.mixtures(kind, own, vectors, themselves)
        return self.candidates(mixtures, vectors, k, seen, self.index.search, self.index.vectors_of)

    def candidates(
        self,
        mixtures: Mixtures,
        vectors: np.ndarray,
        k: int,
        seen: JaggedArray | None,
        search: Search,
        vectors_of: Callable[[np.ndarray], np.ndarray],
    ) -> Retrieved:
        """The k candidates of mixtures, in the order that the settings ask for, from wherever items are.

        Args:
            mixtures: Of B users.
            vectors: What the model makes of them. (B, D) float32
            k: How many.
            seen: Item rows that each user's answer leaves out. (B rows)
            search: What finds items.
            vectors_of: Gives the vectors of item rows: (M,) -> (M, D).
        """
        found = retrieve(mixtures, search, max(k, self.config.depth) if k else 0, seen)
        return (found if self.config.order == "weight" else found.by_user(vectors, vectors_of)).best(k)


def _check_as_many(vectors: np.ndarray, **others: JaggedArray | np.ndarray | None) -> None:
    """Refuses what is not of as many users as there are vectors."""
    for name, one in others.items():
        if one is not None and len(one) != len(vectors):
            raise InputError(f"there are {len(vectors)} vectors of users, and {name} of {len(one)}")


def _like_users(mixtures: Mixtures, vectors: np.ndarray, width: int) -> np.ndarray:
    """Components as long as their user's vector, with its other columns: a bias weighs as it does for the user. (M, D)

    Of users whose vector is zero, components stay as they are, and a bias does not count.

    Args:
        mixtures: Of B users, of `width` columns.
        vectors: The users'. (B, D)
        width: How many columns say what an item is like.
    """
    lengths = np.linalg.norm(vectors[:, :width], axis=1, keepdims=True)[mixtures.users]
    theirs = np.where(lengths > 0, directions(mixtures.vectors) * lengths, mixtures.vectors)
    return np.concatenate([theirs, vectors[mixtures.users, width:]], axis=1).astype(np.float32)
