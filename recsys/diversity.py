"""How different the items of a list are from each other: what a retriever of several interests is asked for.

Three measures, none of whether the items are right:

- `pairwise_distance`: the mean of 1 - cosine over all pairs of the list's items (the intra-list distance of Ziegler et
  al., WWW 2005);
- `distinct`: how many clusters, or categories, at least one of the list's items is in;
- `coverage@k` of `recsys.metrics`: the share of the catalogue that stands in at least one of all users' lists.

Distances mean little beyond the vectors they are of: lists of several retrievers compare by the same vectors only.
"""

from __future__ import annotations

import numpy as np

from features.batches import JaggedArray
from recsys.directions import directions

#: numbers that are held at a time
_CHUNK = 1 << 24


def pairwise_distance(lists: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The mean distance of a list's items, 1 - cosine, over all its pairs.

    An item whose vector is zero has the cosine 0 with every other.

    Args:
        lists: Item rows; -1 for none. (B, K)
        vectors: Of the items. (N, D)

    Returns:
        From 0 (all in one direction) to 2; NaN for lists of fewer than two items. (B,) float64

    Example:
        >>> vectors = np.array([[1, 0], [2, 0], [0, 1]])
        >>> pairwise_distance(np.array([[0, 1, -1], [0, 1, 2], [2, -1, -1]]), vectors).round(3).tolist()
        [0.0, 0.667, nan]
    """
    units = np.concatenate([directions(vectors), np.zeros((1, vectors.shape[1]), np.float32)])  # row -1 is no item
    lengths = np.linalg.norm(units, axis=1) > 0.5
    out = np.empty(len(lists))
    step = max(1, _CHUNK // max(1, lists.shape[1] * vectors.shape[1]))
    for start in range(0, len(lists), step):
        part = lists[start : start + step]
        n = (part >= 0).sum(axis=1)
        # the square of a sum is the sum of all inner products, those of items with themselves included
        total = units[part].sum(axis=1, dtype=np.float64)
        cosines = (total**2).sum(axis=1) - lengths[part].sum(axis=1)
        pairs = n * (n - 1)
        out[start : start + step] = np.where(pairs > 0, 1 - cosines / np.maximum(pairs, 1), np.nan)
    return out


def distinct(lists: np.ndarray, groups: JaggedArray) -> np.ndarray:
    """How many groups a list's items are in, such as clusters or categories.

    Args:
        lists: Item rows; -1 for none. (B, K)
        groups: Those of each item: none, one or several; -1 is none. (N rows)

    Returns:
        (B,) int64

    Example:
        >>> genres = JaggedArray.from_pairs(np.array([0, 1, 1]), np.array([5, 5, 7]), 3)
        >>> distinct(np.array([[0, 1], [0, 2], [2, -1]]), genres).tolist()
        [2, 1, 0]
    """
    users, places = np.nonzero(lists >= 0)
    theirs = groups.rows(lists[users, places])
    base = int(theirs.values.max(initial=0)) + 1
    pairs = np.unique((np.repeat(users, theirs.lengths) * base + theirs.values)[theirs.values >= 0])
    return np.bincount(pairs // base, minlength=len(lists))
