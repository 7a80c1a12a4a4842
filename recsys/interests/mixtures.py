"""Users as mixtures over item clusters, smoothed by similar users, computed for the users that are asked for.

Nothing is kept of a user but the history, so that what is stored grows with interactions alone, and a user who comes
with a history is no other than one who is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from features.batches import JaggedArray
from features.errors import InputError
from recsys.interests.clusters import Clusters

#: item rows to their vectors: (M,) -> (M, D) float32
VectorsOf = Callable[[np.ndarray], np.ndarray]


class Histories(Protocol):
    """What users have had, some users at a time, such as a `JaggedArray`."""

    def rows(self, rows: np.ndarray) -> JaggedArray:
        """Item rows of some users' histories, oldest first. (B,) -> B rows"""
        ...

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """How long they are. (B,) -> (B,) int64"""
        ...


@dataclass(frozen=True, eq=False)
class Mixtures:
    """B users' components, the heaviest of each user first, of equal ones that of the lower cluster.

    Args:
        clusters: Cluster of each component. (M,) int64
        weights: p(c|u); a user's components sum to 1 before any is left out. (M,) float64
        vectors: What each component asks with. (M, D) float32
        offsets: Where each user's components start, and the end of the last's. (B + 1,) int64
        examples: An item row of each component that says what it is: of the user's own items in the cluster the latest,
            else one of the most similar user's; -1 for none. (M,) int64
        own: Whether the example is the user's own. (M,) bool
    """

    clusters: np.ndarray
    weights: np.ndarray
    vectors: np.ndarray
    offsets: np.ndarray
    examples: np.ndarray
    own: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def equal(cls, vectors: np.ndarray) -> Mixtures:
        """Users who ask with S vectors each, of equal weight, such as interests that a model has learned. (B, S, D)

        Zeros do not ask: nothing is near to them.
        """
        asks = vectors.any(axis=2)  # (B, S)
        lengths = asks.sum(axis=1)
        weights = 1 / np.repeat(lengths, lengths)
        none = np.full(len(weights), -1), np.zeros(len(weights), bool)
        return cls(np.nonzero(asks)[1], weights, vectors[asks], np.concatenate([[0], np.cumsum(lengths)]), *none)

    @classmethod
    def joined(cls, parts: Sequence[Mixtures]) -> Mixtures:
        """Those of several groups of users, one after the other."""
        lengths = np.concatenate([np.diff(one.offsets) for one in parts])
        names = ("clusters", "weights", "vectors", "examples", "own")
        found = {name: np.concatenate([getattr(one, name) for one in parts]) for name in names}
        return cls(**found, offsets=np.concatenate([[0], np.cumsum(lengths)]))

    def or_single(self, vectors: np.ndarray) -> Mixtures:
        """The same, but users without a component ask with a vector of their own, unless it is zero. (B, D)"""
        lengths = np.diff(self.offsets)
        alone = np.flatnonzero((lengths == 0) & vectors.any(axis=1))
        if not len(alone):
            return self
        at = self.offsets[alone]
        lengths[alone] = 1
        return Mixtures(
            np.insert(self.clusters, at, 0),
            np.insert(self.weights, at, 1.0),
            np.insert(self.vectors, at, vectors[alone], axis=0),
            np.concatenate([[0], np.cumsum(lengths)]),
            np.insert(self.examples, at, -1),
            np.insert(self.own, at, False),
        )

    @property
    def users(self) -> np.ndarray:
        """Whose each component is. (M,)"""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def places(self) -> np.ndarray:
        """Which of its user's components each one is, from 0. (M,)"""
        return np.arange(len(self.clusters)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))


def mixtures_of(
    own: JaggedArray,
    clusters: Clusters,
    vectors_of: VectorsOf,
    components: int,
    others: Histories | None = None,
    similar: np.ndarray | None = None,
    mixing: float = 0.0,
) -> Mixtures:
    r"""The smoothed mixture of each user (kNN-Embed, section 3).

    With n(u) the items of a user's history and n(u, c) those of them in cluster c, the maximum likelihood is
    p(c|u) = n(u, c) / n(u), and the component's vector v(u, c) is the mean over those items. Smoothed, with lambda the
    mixing and S(u) the similar users,

        p'(c|u) = (1 - lambda) p(c|u) + lambda / |S(u)| sum over s in S(u) of p(c|s)

    and v'(u, c) is the mean of that mixture inside the cluster: each item of the user weighs (1 - lambda) / n(u), each
    of a similar user's lambda / (|S(u)| n(s)). So an interest that a user has none of is asked for with the
    neighbours' vector, and one that both have with a vector between theirs. An item that was met twice counts twice.

    Users without a history are all their neighbours', those without neighbours all their own; who has neither has no
    component. Nor does one ask whose items' vectors cancel out, or are zeros: nothing is near to that.

    Args:
        own: Item rows of each user's history. (B rows)
        clusters: Of the catalogue.
        vectors_of: Gives the vectors of item rows.
        components: How many are kept of each user, the heaviest.
        others: Gives the histories of the U users that `similar` speaks of.
        similar: Rows of users who are like each user; -1 for none. (B, S)
        mixing: Share of similar users: lambda.

    Raises:
        InputError: Items that the catalogue lacks.
    """
    items, owners, weights = _weighted_items(own, others, similar, mixing)
    if len(items) and not 0 <= items.min() <= items.max() < len(clusters.of_item):
        raise InputError(f"histories hold item rows from {items.min()} to {items.max()}, of {len(clusters.of_item)}")
    keys = owners * len(clusters) + clusters.of_item[items]
    order = np.argsort(keys, kind="stable")
    keys, items, weights = keys[order], items[order], weights[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))  # of each component, (M,)
    # summed in float64 and whole: what a component weighs decides how many candidates it brings
    mass = np.add.reduceat(weights, starts) if len(starts) else np.empty(0)
    users, cluster = np.divmod(keys[starts], len(clusters))
    kept, offsets = _heaviest(users, cluster, mass, len(own), components)
    lengths = np.diff(starts, append=len(keys))
    parts = JaggedArray(np.arange(len(keys)), np.concatenate([starts, [len(keys)]]))
    chosen = parts.rows(kept).values
    shares = weights[chosen] / np.repeat(mass[kept], lengths[kept])
    bags = np.concatenate([[0], np.cumsum(lengths[kept])])[:-1]
    rows, place = np.unique(items[chosen], return_inverse=True)
    found = embedding_bag(
        torch.from_numpy(place),
        torch.from_numpy(np.ascontiguousarray(vectors_of(rows), dtype=np.float32)),
        torch.from_numpy(bags),
        mode="sum",
        per_sample_weights=torch.from_numpy(shares.astype(np.float32)),
    ).numpy()
    n_own = np.concatenate([[0], np.cumsum(order < own.offsets[-1] - own.offsets[0])])
    n_own = (n_own[starts + lengths] - n_own[starts])[kept]  # which come first in each component
    examples = items[starts[kept] + np.maximum(n_own, 1) - 1]
    usable = found.any(axis=1)
    if not usable.all():
        offsets = np.concatenate([[0], np.cumsum(usable)])[offsets]
        kept, found, examples, n_own = kept[usable], found[usable], examples[usable], n_own[usable]
    return Mixtures(cluster[kept], mass[kept], found, offsets, examples, n_own > 0)


def _weighted_items(
    own: JaggedArray, others: Histories | None, similar: np.ndarray | None, mixing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All items of users and, after them, of those like them: item rows, whose mixture they are in, their weights."""
    lengths = own.lengths
    users = np.repeat(np.arange(len(own)), lengths)
    values = own.values[own.offsets[0] : own.offsets[-1]]
    alone = 1.0 / np.repeat(np.maximum(lengths, 1), lengths)
    if others is None or similar is None or not mixing or not similar.size:
        return values, users, alone
    user, column = np.nonzero(similar >= 0)
    theirs = others.rows(similar[user, column])
    has_some = theirs.lengths > 0  # whoever has had nothing says nothing
    n_similar = np.bincount(user[has_some], minlength=len(own))
    share = np.where(lengths > 0, mixing, 1.0)[user] / np.maximum(n_similar[user], 1)
    share = share / np.maximum(theirs.lengths, 1)  # of each item
    kept = np.where(n_similar > 0, 1.0 - mixing, 1.0)
    return (
        np.concatenate([values, theirs.values]),
        np.concatenate([users, np.repeat(user, theirs.lengths)]),
        np.concatenate([alone * kept[users], np.repeat(share, theirs.lengths)]),
    )


def _heaviest(
    users: np.ndarray, clusters: np.ndarray, mass: np.ndarray, n_users: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each user's heaviest components in order, as positions, and where each user's start. (M,) three times."""
    order = np.lexsort((clusters, -np.round(mass, 12), users))
    order = order[mass[order] > 0]
    lengths = np.bincount(users[order], minlength=n_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    place = np.arange(len(order)) - np.repeat(offsets[:-1], lengths)
    return order[place < most], np.concatenate([[0], np.cumsum(np.minimum(lengths, most))])
