"""Vectors of one space brought to one scale: language models put all texts into a narrow cone.

A vector of zeros stands for none, and becomes zeros: it stands where the mean does.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

#: directions of less variance than this share of the largest are nothing but rounding, and what few vectors do not tell
_FLOOR = 1e-6

#: and of less than this: what float32 makes of numbers around 1 that are all the same
_NOTHING = 1e-13


class Whitening(nn.Module):
    """Centred vectors along their principal directions, each of unit variance over what it was fitted on.

    A direction in which nothing was seen to vary stays 0: divided by next to nothing, a vector that is new would be
    thrown far beyond all others.

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

    mean: Tensor
    directions: Tensor

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
        varies = variances > max(variances[0] * _FLOOR, _NOTHING)
        scale = np.where(varies, 1 / np.sqrt(np.where(varies, variances, 1)), 0)
        self.mean.copy_(torch.from_numpy(mean))
        self.directions.copy_(torch.from_numpy((directions * scale)[:, : self.directions.shape[1]].copy()))

    def forward(self, vectors: Tensor) -> Tensor:
        """(M, V) -> (M, D)"""
        # what is divided by small numbers is small itself, and lost in bf16 beside what is not
        with torch.autocast(vectors.device.type, enabled=False):
            return _centred(vectors.float(), self.mean) @ self.directions


class Standardised(nn.Module):
    """Centred vectors, divided by one number, so that the mean square of their entries is 1.

    Args:
        size: Width V of the vectors.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, vectors: np.ndarray) -> None:
        """Learns mean and scale. (n, V)"""
        centred = vectors.astype(np.float64)
        mean = centred.mean(axis=0)
        variance = float(np.square(centred - mean).mean())
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.fill_(variance**0.5 if variance > _NOTHING else 1.0)

    def forward(self, vectors: Tensor) -> Tensor:
        """(M, V) -> (M, V)"""
        return _centred(vectors, self.mean) / self.scale


def _centred(vectors: Tensor, mean: Tensor) -> Tensor:
    """Vectors without the mean, in few passes over many of them. (M, V), (V,) -> (M, V)"""
    there = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) > 0
    return torch.addcmul(vectors, there.to(vectors.dtype), mean, value=-1)
