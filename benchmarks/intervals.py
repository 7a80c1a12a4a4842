"""How sure a difference is that the same users were asked for twice."""

from __future__ import annotations

import numpy as np


def paired_interval(lifts: np.ndarray, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of a mean, by drawing users with replacement. (n,)"""
    random = np.random.default_rng(seed)
    means = [lifts[random.integers(len(lifts), size=len(lifts))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
