"""How sure a figure is: from drawing what it was measured on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def paired_interval(lifts: np.ndarray, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of a mean, by drawing users with replacement: of lifts where the same were asked twice. (n,)"""
    return drawn_interval(len(lifts), lambda rows: float(lifts[rows].mean()), resamples, seed)


def drawn_interval(
    n: int, figure: Callable[[np.ndarray], float], resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of a figure, by drawing what it is of with replacement.

    Args:
        n: How many there are.
        figure: Of the drawn ones, by their places. (n,) int64
        resamples: How often.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    found = [figure(random.integers(n, size=n)) for _ in range(resamples)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
