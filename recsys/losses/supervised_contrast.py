"""Supervised contrast: what belongs together is drawn together, and apart from all others of a batch.

Khosla et al., 'Supervised Contrastive Learning' (NeurIPS 2020; arXiv 2004.11362, equation 2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def supervised_contrast(vectors: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """The mean cross-entropy, in nats, of finding another one of the same group among all others.

    Of several that are to be found, each counts as much. What is alone in its group only stands in the others' way.

    Args:
        vectors: Of any length; compared by cosine. (B, H)
        groups: Which belong together. (B,) int64
        temperature: What cosines are divided by.

    Returns:
        A number; 0 where nothing belongs together.

    Example:
        >>> vectors = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
        >>> good = supervised_contrast(vectors, torch.tensor([0, 0, 1, 1]), 0.5)
        >>> bad = supervised_contrast(vectors, torch.tensor([0, 1, 0, 1]), 0.5)
        >>> bool(good < bad), supervised_contrast(vectors, torch.arange(4), 0.5).item()
        (True, 0.0)
    """
    unit = normalize(vectors.float(), dim=1)
    own = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    scores = (unit @ unit.T / temperature).masked_fill(own, -torch.inf)
    together = (groups[:, None] == groups[None, :]) & ~own  # (B, B)
    asked = together.any(dim=1)
    if not asked.any():
        return (vectors * 0).sum()
    likelihood = scores - scores.logsumexp(dim=1, keepdim=True)
    found = likelihood.masked_fill(~together, 0).sum(dim=1)[asked] / together.sum(dim=1)[asked]
    return -found.mean()
