"""From the states of a text's tokens to one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

Pooling = Literal["mean", "cls", "last", "latent", "layers"]


def mean_of(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over a text's tokens. (B, L, H), (B, L) bool -> (B, H) float32"""
    weights = mask[:, :, None].float()
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def first_of(states: Tensor, mask: Tensor) -> Tensor:
    """The first token's state, which models such as BERT train to stand for the text. (B, L, H), (B, L) -> (B, H)"""
    return states[:, 0]


def last_of(states: Tensor, mask: Tensor) -> Tensor:
    """The last token's state, the only one that has seen all others where attention is causal. -> (B, H)"""
    return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) - 1]


#: the poolings without weights
UNTRAINED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean_of, "cls": first_of, "last": last_of}


class CrossAttention(nn.Module):
    """A block of attention from one set of vectors to another, with a GEGLU perceptron after it, both residual.

    Args:
        dim: Width H of both.
        heads: Of the attention.
        head_dim: Width of each.
    """

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_dim
        self.norm, self.norm_context, self.norm_after = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)
        self.widen, self.narrow = nn.Linear(dim, 8 * dim), nn.Linear(4 * dim, dim)

    def forward(self, asking: Tensor, context: Tensor) -> Tensor:
        """(B, Q, H), (B, K, H) -> (B, Q, H)"""
        query = self._split(self.to_q(self.norm(asking)))
        key, value = map(self._split, self.to_kv(self.norm_context(context)).chunk(2, dim=-1))
        told = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        asking = asking + self.to_out(told)
        values, gates = self.widen(self.norm_after(asking)).chunk(2, dim=-1)
        return asking + self.narrow(values * gelu(gates))

    def _split(self, states: Tensor) -> Tensor:
        """(B, L, heads * E) -> (B, heads, L, E)"""
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class LatentAttention(nn.Module):
    """Each token's state asks a trained dictionary; the answers' mean is the text's vector.

    NV-Embed (arXiv 2405.17428, section 3.1.2): the tokens are the queries, the latents keys and values.

    Args:
        dim: Width H of the states.
        latents: How many entries the dictionary has.
        heads: Of the attention.
        head_dim: Width of each.
    """

    def __init__(self, dim: int, latents: int = 512, heads: int = 8, head_dim: int = 64) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, dim))
        self.attend = CrossAttention(dim, heads, head_dim)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, L, H), (B, L) bool -> (B, H)"""
        return mean_of(self.attend(states, self.latents.expand(len(states), -1, -1)), mask)


class LayersAttention(nn.Module):
    """Trained queries ask the last token's states in all layers; the answers' mean is the text's vector.

    Multi-layers trainable pooling of 'Pooling And Attention: What Are Effective Designs For LLM-Based Embedding
    Models?' (arXiv 2409.02727): what one layer has lost, an earlier one still knows.

    Args:
        dim: Width H of the states.
        layers: How many layers' states there are, that of the embeddings included.
        latents: How many queries.
        heads: Of the attention.
        head_dim: Width of each.
    """

    def __init__(self, dim: int, layers: int, latents: int = 64, heads: int = 8, head_dim: int = 64) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, dim))
        self.layer = nn.Parameter(torch.zeros(layers, dim))
        self.attend = CrossAttention(dim, heads, head_dim)

    def forward(self, states: Tensor) -> Tensor:
        """The last token's state in each layer. (B, layers, H) -> (B, H)"""
        return self.attend(self.latents.expand(len(states), -1, -1), states + self.layer).mean(dim=1)


def trained_pooling(kind: Literal["latent", "layers"], dim: int, layers: int, **settings: int) -> nn.Module:
    """A pooling that has weights.

    Args:
        kind: "latent" or "layers".
        dim: Width H of the states.
        layers: How many layers' states there are.
        settings: Of the module: latents, heads, head_dim.
    """
    return LatentAttention(dim, **settings) if kind == "latent" else LayersAttention(dim, layers, **settings)
