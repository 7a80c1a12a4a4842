"""Interests go into a bundle: everything that they are made of is in it already."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import InputError
from recsys.interests import KINDS, Clusters, InterestsConfig, RetrieverKind, SimilarUsers
from serving.bundles.bundle import Bundle
from serving.bundles.in_place import copy_parts, replaced
from serving.bundles.interests import BundleInterests
from serving.candidates import CandidateGenerator
from serving.golden import write_golden
from serving.lists.asked import read_asked
from serving.lists.user_vectors import user_features, user_vectors

#: users that are encoded at a time
_USERS = 1024


def with_interests(
    folder: Path | str,
    config: InterestsConfig | None = None,
    retriever: RetrieverKind = "smoothed",
    out: Path | str | None = None,
) -> Path:
    """Adds interests to a bundle, or replaces those it has; the build id is a new one.

    The manifest's figures are those of other lists then, so they go: measure the bundle, and write new ones.

    Args:
        folder: A bundle of any kind.
        config: What interests are made of.
        retriever: What the bundle answers with where a request names no other.
        out: Where the bundle with interests goes; over the one without them where not given.

    Returns:
        The folder.

    Raises:
        InputError: There is no such retriever, or the bundle has no history.
        BundleError: The bundle is damaged, or something else lies at `out`.
    """
    if retriever not in KINDS:
        raise InputError(f"the retriever is one of {', '.join(KINDS)}, got {retriever!r}")
    config, folder = config or InterestsConfig(), Path(folder)
    bundle = Bundle.load(folder)
    if not bundle.known.n_interactions:
        raise InputError(f"the bundle {folder.name} has no history, and interests are made of histories")
    width, index = bundle.model.config.dim, bundle.index
    users = known_vectors(bundle)[:, :width]
    if not users.any():
        raise InputError(f"the model of the bundle {folder.name} makes a zero vector of every user")
    made = BundleInterests(
        config,
        Clusters.fit(index.stored(0, len(index))[:, :width], config.clusters),
        SimilarUsers.fit(users),
    )
    with replaced(folder if out is None else out) as part:
        manifest = copy_parts(folder, part)
        made.write(part)
        same = retriever == manifest.retriever == "unimodal"  # whose lists are what they were
        kept: dict[str, Any] = {} if same else {"metrics": {}, "fp32_metrics": {}, "precision_loss": {}}
        dataclasses.replace(manifest, retriever=retriever, **kept).sealed(part).write(part)
        write_golden(part)
    return folder if out is None else Path(out)


def known_vectors(bundle: Bundle) -> np.ndarray:
    """What a bundle's model makes of its users; zeros for those without a history. (U, D) float32"""
    generator = CandidateGenerator(bundle)
    shelf, ids = generator.new_items.shelf, bundle.users.ids
    vectors = np.zeros((len(ids), bundle.model.dim), np.float32)
    for start in range(0, len(ids), _USERS):
        some = ids[start : start + _USERS]
        asked = read_asked(bundle, generator.user_ids, shelf, some, None)
        told = np.flatnonzero(asked.histories.lengths)
        features = user_features(bundle, asked, told, None, np.zeros(len(asked), bool))
        vectors[start + told] = user_vectors(bundle, features, len(told))
    return vectors
