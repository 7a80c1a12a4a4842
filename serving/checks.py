"""What is checked of a loaded bundle before it takes another's place: is its index whole, does it take the requests.

Nothing is believed that a manifest says: the index is searched, and the bundles themselves are compared.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from features.schema import Categorical, MultiValued, Numeric
from serving.bundles.bundle import Bundle
from serving.candidates import CandidateGenerator
from serving.lists.asked import read_asked
from serving.lists.user_vectors import user_features, user_vectors

#: stored vectors that are compared at a time
_VECTORS = 1 << 16
#: a float32 sum is off by no more, as a share of the vectors' lengths
_ROUNDING = 1e-5


def index_recall(generator: CandidateGenerator, k: int = 100, queries: int = 256) -> float:
    """Share of the best k of the stored vectors that a bundle's index finds, for its own users; measured now.

    An item counts as found where its score is among the best k: which of several equal ones is found does not matter.

    Args:
        generator: Of a bundle. Items that have come since are not looked for.
        k: How many are searched for, at most all.
        queries: How many users are asked for, at most; items stand in for them where nobody has a history.

    Returns:
        From 0 to 1.
    """
    index = generator.bundle.index
    k = min(k, len(index))
    asked = _queries(generator, queries)  # (B, D)
    best = np.full((len(asked), k), -np.inf, np.float32)
    for start in range(0, len(index), _VECTORS):
        some = asked @ index.stored(start, _VECTORS).T
        both = np.concatenate([best, some.astype(np.float32)], axis=1)
        best = -np.partition(-both, k - 1, axis=1)[:, :k]
    found, _ = index.search(asked, k)
    slack = _ROUNDING * np.maximum(np.linalg.norm(asked, axis=1) * index.max_norm, 1e-30)
    return float((found >= (best.min(axis=1) - slack)[:, None]).mean()) if len(asked) else 1.0


def _queries(generator: CandidateGenerator, most: int) -> np.ndarray:
    """Vectors of some users with a history, the same ones each time. (B, D) float32"""
    bundle = generator.bundle
    known = bundle.known
    rows = np.flatnonzero(known.lengths_of(np.arange(len(known))) > 0)
    random = np.random.default_rng(0)
    if len(rows) > most:
        rows = np.sort(random.choice(rows, most, replace=False))
    vectors = np.empty((0, bundle.model.dim), np.float32)
    if len(rows):
        asked = read_asked(bundle, generator.user_ids, generator.new_items.shelf, bundle.users.ids_of(rows), None)
        features = user_features(bundle, asked, np.arange(len(asked)), None, np.zeros(len(asked), bool))
        vectors = user_vectors(bundle, features, len(asked))
        vectors = vectors[np.isfinite(vectors).all(1) & vectors.any(1)]  # the others are answered by popularity
    if len(vectors):
        return vectors
    items = np.sort(random.permutation(len(bundle.index))[:most])
    return np.ascontiguousarray(bundle.index.vectors_of(items))


def signature_changes(old: Bundle, new: Bundle) -> list[str]:
    """Why requests that one bundle takes may be refused, or mean something else, to another; a sentence each.

    Args:
        old: What requests are made for.
        new: What is to answer them.

    Returns:
        None where every request is taken as before. What the new bundle takes besides is no change.
    """
    found = []
    if old.manifest.kind != new.manifest.kind:
        found.append(f"its kind is {new.manifest.kind!r}, and was {old.manifest.kind!r}")
    for mine, others in ((new.users, old.users), (new.items, old.items)):
        if mine.ids.dtype != others.ids.dtype:
            found.append(f"the ids {mine.name!r} are {_kind(mine.ids)}, and were {_kind(others.ids)}")
    attributes = _attributes(new)
    for name, kind in _attributes(old).items():
        if name not in attributes:
            found.append(f"it takes no attribute {name!r} of users any more")
        elif attributes[name] != kind:
            found.append(f"the attribute {name!r} of users is {attributes[name]}, and was {kind}")
    for taken, still, what in (
        (old.known.timed, new.known.timed, "reads no times of histories"),
        (old.reads_asking_time, new.reads_asking_time, "does not read when it is asked"),
        (old.ranker is not None, new.ranker is not None, "has no ranker to re-rank with"),
        (old.interests is not None, new.interests is not None, "has no interests to ask for"),
    ):
        if taken and not still:
            found.append(f"it {what} any more")
    return found


def _kind(ids: pl.Series) -> str:
    return "integers" if ids.dtype == pl.Int64 else "strings"


def _attributes(bundle: Bundle) -> dict[str, str]:
    """What can be said of a user in a request, and what it has to be, by column."""
    types = bundle.known.attributes.schema
    return {
        one.column: f"{one.kind} of {'strings' if types.get(one.column) == pl.String else 'other values'}"
        if isinstance(one, Categorical)
        else one.kind
        for one in bundle.schema.user
        if isinstance(one, Categorical | MultiValued | Numeric)
    }
