"""Losses that pull what a model makes of items towards what their texts say: RLMRec's two alignments.

Ren et al., 'Representation Learning with Large Language Models for Recommendation' (arXiv 2310.15950): the mutual
information of both spaces is bounded by a softmax over the texts of a batch, of cosines divided by a temperature.

- *con* (contrastive): each item's vector is to find its own text, brought down to the model's width.
- *gen* (generative): what the model expects of an item that was hidden from it, brought up to the text's width, is to
  find that item's text.

Both learn a perceptron of one hidden layer between the spaces, which is training's and no part of the model.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

#: items are told from so many others at the most: the cosines of all pairs are in memory
MOST = 4096


class TextAlignment(nn.Module):
    """One of the two alignments, over the items of a batch.

    Args:
        kind: "con" or "gen".
        dim: Width D of the model's vectors.
        texts: The vectors of the catalogue's texts; zeros for an item without. (N, V)
        temperature: What cosines are divided by.
        seed: Of the perceptron's first weights; they do not draw on what the model's do.

    Example:
        >>> texts = np.eye(3, 4, dtype=np.float32)
        >>> align = TextAlignment("con", 2, texts, temperature=0.2)
        >>> loss, n = align(torch.ones(4, 2), torch.tensor([0, 2, 2, 1]))
        >>> n, bool(loss > 0)
        (3, True)
    """

    texts: Tensor
    told: Tensor

    def __init__(
        self, kind: Literal["con", "gen"], dim: int, texts: np.ndarray, temperature: float, seed: int = 0
    ) -> None:
        super().__init__()
        self.kind, self.temperature = kind, temperature
        size = texts.shape[1]
        inputs, out = (size, dim) if kind == "con" else (dim, size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            between = (size + dim) // 2
            self.perceptron = nn.Sequential(nn.Linear(inputs, between), nn.LeakyReLU(), nn.Linear(between, out))
        self.register_buffer("texts", torch.from_numpy(texts), persistent=False)
        self.register_buffer("told", torch.from_numpy(texts.any(axis=1)), persistent=False)

    def forward(self, vectors: Tensor, items: Tensor) -> tuple[Tensor, int]:
        """The mean cross-entropy in nats over the items that have a text, and how many they are.

        An item that occurs more than once is taken once, with any of its vectors: it is no negative of itself.

        Args:
            vectors: What the model makes of each item. (M, D)
            items: Item rows; of more than `MOST`, so many are drawn. (M,)
        """
        told = self.told[items].nonzero().squeeze(1)
        different, place = items[told].unique(return_inverse=True)
        # the place of the last of each, whatever order a kernel writes in
        at = torch.full_like(different, -1).scatter_reduce(0, place, told, "amax")
        if len(at) > MOST:
            chosen = torch.randperm(len(at), device=at.device)[:MOST]
            at, different = at[chosen], different[chosen]
        if not len(at):
            return vectors.sum() * 0.0 + sum(weight.sum() for weight in self.parameters()) * 0.0, 0
        made, said = vectors[at], self.texts[different]
        if self.kind == "con":
            said = self.perceptron(said)
        else:
            made = self.perceptron(made)
        cosines = normalize(made, dim=1) @ normalize(said, dim=1).T  # (M, M)
        return cross_entropy(cosines / self.temperature, torch.arange(len(at), device=at.device)), len(at)
