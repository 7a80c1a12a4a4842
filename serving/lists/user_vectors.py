"""The users of a request as a model sees them: their declared features, and the vectors that follow from them."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import torch

from features.batches import FeatureBatch, Jagged
from recsys.retrievers import encode_histories
from serving.bundles.bundle import Bundle
from serving.lists.asked import Asked


def user_features(
    bundle: Bundle, asked: Asked, users: np.ndarray, frame: pl.DataFrame | None, described: np.ndarray
) -> list[tuple[np.ndarray, FeatureBatch]]:
    """Features of some of the asked users, in a few batches.

    Args:
        bundle: Which knows users.
        asked: B users.
        users: Which of them. (n,)
        frame: What the request says of them, if anything. (B rows)
        described: Of which of them it says something. (B,)

    Returns:
        Batches, histories included, and which of the n users their rows are.
    """
    stored = (asked.rows[users] >= 0) & ~described[users]
    timed = asked.timed[users] & bundle.known.timed
    history = bundle.schema.history
    # only the end, as long as the declared feature takes
    recent = asked.histories if history is None else asked.histories.last(history.max_length)
    batches = []
    for known, told in product((True, False), repeat=2):
        members = np.flatnonzero((stored == known) & (timed == told))
        if not len(members):
            continue
        chosen = users[members]
        if known:
            batch = bundle.known.features(asked.rows[chosen])
        else:
            said = pl.DataFrame({"": np.zeros(len(chosen), np.int8)}) if frame is None else frame[chosen]
            batch = _described(bundle, asked, chosen, said)
        if history is not None:
            batch.sparse[history.name] = recent.take(chosen)
            if told:
                batch.asked_at = torch.from_numpy(asked.asked_at[chosen])
            else:
                batch.sparse[history.name].times = None
        batches.append((members, batch))
    return batches


def _described(bundle: Bundle, asked: Asked, users: np.ndarray, frame: pl.DataFrame) -> FeatureBatch:
    """Features of users from what the request says of them, or of users of whom nothing is said."""
    table = bundle.known.encoder.encode(frame)
    batch = table.take(np.arange(len(users)))
    rows = torch.from_numpy(np.where(asked.trained[users], asked.rows[users], -1))
    for feature in bundle.schema.user:
        if feature.kind == "id":
            batch.sparse[feature.name] = Jagged(rows, torch.ones(len(users), dtype=torch.int64))
    return batch


def user_vectors(bundle: Bundle, features: list[tuple[np.ndarray, FeatureBatch]], n: int) -> np.ndarray:
    """The vectors of users. (n, D) float32

    Args:
        bundle: Whose model encodes them.
        features: As `user_features` gives them.
        n: How many users they are.
    """
    vectors = np.zeros((n, bundle.model.dim), dtype=np.float32)
    for members, batch in features:
        vectors[members] = encode_histories(bundle.model, batch).numpy()
    return vectors
