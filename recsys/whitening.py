"""Vectors of one space brought to one scale: language models put all texts into a narrow cone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

#: of whitening: what a direction's variance is at the least, as a share of the largest, so that none is divided by 0
_FLOOR = 1e-6


class Whitening(nn.Module):
    """Centred vectors along their principal directions, each of unit variance over what it was fitted on.

    Args:
        size: Width V of the vectors.
        dim: How many directions are kept, those of the largest variance first; D <= V.

    Example:
        >>> vectors = torch.randn(500, 3) @ torch.tensor([[5.0, 1, 0], [0, 2, 0], [0, 0, 0.1]])
        >>> white = Whitening(3, 2)
        >>> white.fit(vectors.numpy())
        >>> torch.cov(white(vectors).T).abs().round(decimals=2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("directions", torch.eye(size, dim))  # (V, D), divided by the deviation along each

    def fit(self, vectors: np.ndarray) -> None:
        """Learns mean and directions, in float64, with signs that do not depend on the solver. (n, V)"""
        centred = vectors.astype(np.float64)
        mean = centred.mean(axis=0)
        centred -= mean
        variances, directions = np.linalg.eigh(centred.T @ centred / max(1, len(centred) - 1))
        variances, directions = variances[::-1], directions[:, ::-1]  # the largest first
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
        scale = np.sqrt(np.maximum(variances, max(variances[0], 1e-12) * _FLOOR))
        self.mean.copy_(torch.from_numpy(mean))
        self.directions.copy_(torch.from_numpy((directions / scale)[:, : self.directions.shape[1]].copy()))

    def forward(self, vectors: Tensor) -> Tensor:
        """(M, V) -> (M, D)"""
        return (vectors - self.mean) @ self.directions


class Standardised(nn.Module):
    """Centred vectors, divided by one number, so that the mean square of their entries is 1.

    Args:
        size: Width V of the vectors.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, vectors: np.ndarray) -> None:
        """Learns mean and scale. (n, V)"""
        centred = vectors.astype(np.float64)
        mean = centred.mean(axis=0)
        deviation = float(np.sqrt(np.square(centred - mean).mean()))
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.fill_(deviation or 1.0)

    def forward(self, vectors: Tensor) -> Tensor:
        """(M, V) -> (M, V)"""
        return (vectors - self.mean) / self.scale
