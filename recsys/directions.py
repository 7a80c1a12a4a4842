"""Vectors by their direction alone."""

from __future__ import annotations

import numpy as np


def directions(vectors: np.ndarray) -> np.ndarray:
    """The vectors at length 1, whose inner products are cosines; zeros stay zeros. (n, D) -> (n, D) float32

    Example:
        >>> directions(np.array([[3, 4], [0, 0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
