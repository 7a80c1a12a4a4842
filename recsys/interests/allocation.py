"""How many candidates each interest may bring."""

from __future__ import annotations

import numpy as np


def largest_remainder(weights: np.ndarray, k: int) -> np.ndarray:
    """Shares k candidates out in proportion to weights (Hamilton's method), so that each row sums to k.

    Each weight gets the whole part of its share; the candidates left go, one each, to the largest fractions, of equal
    ones to those that stand first.

    Args:
        weights: Of each user's interests, the largest first; 0 for none. (B, S)
        k: How many candidates a user gets.

    Returns:
        (B, S) int64; rows sum to k, or to 0 where all weights are 0.

    Example:
        >>> largest_remainder(np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]), 4).tolist()
        [[2, 1, 1], [4, 0, 0]]
    """
    totals = weights.sum(axis=1, keepdims=True)
    shares = k * weights / np.where(totals > 0, totals, 1)  # (B, S)
    # 0.1 + 0.2 is more than 0.3: what is a whole number but for rounding is that number
    counts = np.floor(shares + 1e-9)
    left = np.where(totals > 0, k, 0) - counts.sum(axis=1, keepdims=True)  # (B, 1)
    fractions = np.where(weights > 0, shares - counts, -1)
    order = np.argsort(-np.round(fractions, 9), axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(weights.shape[1])[None], axis=1)
    return (counts + (place < left)).astype(np.int64)
