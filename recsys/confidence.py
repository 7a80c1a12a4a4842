"""How far a measured figure may be from the true one: bootstrap over users."""

from __future__ import annotations

import numpy as np
import torch

from recsys.metrics import UserSums

#: weights held at a time: 64 MiB of float64
_WEIGHTS = 2**23


def bootstrap_intervals(
    users: UserSums, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of every figure that is a mean (Efron, 1979), by drawing users with replacement.

    Users are drawn with all their queries: the queries of one user are not independent, and intervals over queries
    would be too narrow.

    Args:
        users: What each user adds to each figure; only users with a target are drawn.
        resamples: How many times as many users are drawn as there are.
        level: How often such an interval holds the true figure.
        seed: The same seed gives the same intervals.

    Returns:
        Figure name to (low, high). Totals, and figures with nothing to measure, are left out.

    Example:
        >>> sums = UserSums(("hr@1",), torch.tensor([[1.0], [0.0], [1.0]]).double(), torch.ones(3, 1).double())
        >>> bootstrap_intervals(sums)["hr@1"]
        (0.0, 1.0)
    """
    means = (users.counts > 0).any(0)
    drawn = (users.counts > 0).any(1)
    sums, counts = users.sums[drawn][:, means], users.counts[drawn][:, means]  # (U, M)
    n_users = len(sums)
    if not n_users:
        return {}
    random = np.random.default_rng(seed)
    figures = []
    step = max(1, _WEIGHTS // max(n_users, 1))
    for first in range(0, resamples, step):
        size = min(step, resamples - first)
        draws = random.integers(n_users, size=(size, n_users)) + np.arange(size)[:, None] * n_users
        weights = torch.from_numpy(np.bincount(draws.ravel(), minlength=size * n_users).reshape(size, n_users)).double()
        figures.append(weights @ sums / (weights @ counts))  # 0 / 0 where a small slice was not drawn at all
    tail = (1 - level) / 2
    bounds = torch.nanquantile(torch.cat(figures), torch.tensor([tail, 1 - tail]).double(), dim=0)  # (2, M)
    names = [name for name, is_mean in zip(users.names, means.tolist(), strict=True) if is_mean]
    return {name: (low, high) for name, low, high in zip(names, *bounds.tolist(), strict=True)}
