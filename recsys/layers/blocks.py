"""Layers of sequence models: each reads the T places of jagged rows, and adds to them what it made of the past."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from recsys.layers.attention import CausalAttention, PointwiseAttention
from recsys.layers.padded import PaddedGroups


class SASRecLayer(nn.Module):
    """A transformer layer that normalises its inputs: attention, then a feed-forward layer. (T, D) -> (T, D)

    Kang & McAuley, 'Self-attentive sequential recommendation', ICDM 2018, with what later work found better: the norm
    before the sub-layers and outside of the residual path, GELU, and a wider hidden layer.

    Args:
        dim: D
        heads: Of the attention.
        hidden: Width of the feed-forward layer, as a multiple of D.
        dropout: Share of what either sub-layer adds that training zeroes.
    """

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, heads)
        self.widen, self.narrow = nn.Linear(dim, hidden * dim), nn.Linear(hidden * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor, groups: PaddedGroups) -> Tensor:
        """(T, D) -> (T, D)"""
        inputs = inputs + self.dropout(self.attention(self.attention_norm(inputs), groups))
        return inputs + self.dropout(self.narrow(gelu(self.widen(self.feed_forward_norm(inputs)))))


class LiGRLayer(nn.Module):
    """A transformer layer whose sub-layers are gated by its input, with a SwiGLU feed-forward layer. (T, D) -> (T, D)

    The layer of eSASRec (arXiv 2508.06450, RecSys 2025), after LiGR (Borisyuk et al., arXiv 2502.03417):
    x + sigmoid(W x) * sublayer(norm(x)).

    Args:
        dim: D
        heads: Of the attention.
        hidden: Width of the feed-forward layer, as a multiple of D.
        dropout: Share of what either sub-layer adds that training zeroes.
    """

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, heads)
        self.attention_gate, self.feed_forward_gate = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.widen = nn.Linear(dim, 2 * hidden * dim, bias=False)
        self.narrow = nn.Linear(hidden * dim, dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor, groups: PaddedGroups) -> Tensor:
        """(T, D) -> (T, D)"""
        attended = self.dropout(self.attention(self.attention_norm(inputs), groups))
        inputs = inputs + torch.sigmoid(self.attention_gate(inputs)) * attended
        gate, values = self.widen(self.feed_forward_norm(inputs)).chunk(2, dim=1)
        fed = self.dropout(self.narrow(silu(gate) * values))
        return inputs + torch.sigmoid(self.feed_forward_gate(inputs)) * fed


class HSTULayer(nn.Module):
    """Pointwise attention and nothing else: its gate does what a feed-forward layer would. (T, D) -> (T, D)

    See `PointwiseAttention`. A layer has a fifth of a LiGR layer's weights, so that more of them cost the same.

    Args:
        dim: D
        heads: Of the attention.
        max_length: The longest row.
        dropout: Share of what it adds that training zeroes.
        timed: Whether the attention has a bias for the time that has passed.
    """

    def __init__(self, dim: int, heads: int, max_length: int, dropout: float, timed: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = PointwiseAttention(dim, heads, max_length, timed)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor, groups: PaddedGroups) -> Tensor:
        """(T, D) -> (T, D)"""
        return inputs + self.dropout(self.attention(self.norm(inputs), groups))
