"""Users as mixtures over item clusters, smoothed by similar users, computed for the users that are asked for.

Nothing is kept of a user but the history, so that what is stored grows with interactions alone, and a user who comes
with a history is no other than one who is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from features.batches import JaggedArray
from features.errors import InputError
from recsys.interests.clusters import Clusters


@dataclass(frozen=True, eq=False)
class Mixtures:
    """B users' components, the heaviest of each user first, of equal ones that of the lower cluster.

    Args:
        clusters: Cluster of each component. (M,) int64
        weights: p(c|u); a user's components sum to 1 before any is left out. (M,) float64
        vectors: What each component asks with. (M, D) float32
        offsets: Where each user's components start, and the end of the last's. (B + 1,) int64
    """

    clusters: np.ndarray
    weights: np.ndarray
    vectors: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def single(cls, vectors: np.ndarray) -> Mixtures:
        """Users who ask with one vector each, in a cluster that holds all. (B, D)"""
        n = len(vectors)
        return cls(np.zeros(n, np.int64), np.ones(n), vectors, np.arange(n + 1))

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
    vectors: np.ndarray,
    components: int,
    others: JaggedArray | None = None,
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
    component.

    Args:
        own: Item rows of each user's history. (B rows)
        clusters: Of the catalogue.
        vectors: The items' vectors. (N, D) float32
        components: How many are kept of each user, the heaviest.
        others: Item rows of the histories that `similar` speaks of. (U rows)
        similar: Rows of `others` that are like each user; -1 for none. (B, S)
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
    found = embedding_bag(
        torch.from_numpy(items[chosen]),
        torch.from_numpy(vectors),
        torch.from_numpy(bags),
        mode="sum",
        per_sample_weights=torch.from_numpy(shares.astype(np.float32)),
    )
    return Mixtures(cluster[kept], mass[kept], found.numpy(), offsets)


def _weighted_items(
    own: JaggedArray, others: JaggedArray | None, similar: np.ndarray | None, mixing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All items of users and of those like them: item rows, whose mixture they are in, and their weights there."""
    lengths = own.lengths
    users = np.repeat(np.arange(len(own)), lengths)
    values = own.values[own.offsets[0] : own.offsets[-1]]
    alone = 1.0 / np.repeat(np.maximum(lengths, 1), lengths)
    if others is None or similar is None or not mixing or not similar.size:
        return values, users, alone
    user, column = np.nonzero(similar >= 0)
    rows = similar[user, column]
    has_some = others.offsets[rows + 1] > others.offsets[rows]  # whoever has had nothing says nothing
    user, rows = user[has_some], rows[has_some]
    n_similar = np.bincount(user, minlength=len(own))
    theirs = others.rows(rows)
    share = np.where(lengths > 0, mixing, 1.0)[user] / n_similar[user] / theirs.lengths  # of each item
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
