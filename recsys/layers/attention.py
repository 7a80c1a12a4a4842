"""Causal attention over jagged rows: softmax attention, and HSTU's pointwise one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention, silu

from recsys.layers.padded import TIME_CLASSES, PaddedGroups

#: what silu makes exactly 0, with a gradient of 0, in every floating-point type
_HIDDEN = -1e4


class CausalAttention(nn.Module):
    """Softmax self-attention (Vaswani et al., 2017): each place sees those before it, and itself. (T, D) -> (T, D)

    Args:
        dim: D
        heads: How many heads share the D columns.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, inputs: Tensor, groups: PaddedGroups) -> Tensor:
        """(T, D) -> (T, D)"""
        mixed = []
        for padded in groups.padded(self.queries_keys_values(inputs)):
            queries, keys, values = _heads(padded, 3, self.heads)  # (b, H, l, D / H)
            # no dropout on the weights: torch would leave its fused kernel, at three times the cost
            heads = scaled_dot_product_attention(queries, keys, values, is_causal=True)
            mixed.append(heads.transpose(1, 2).flatten(2))
        return self.out(groups.flat(mixed))


class PointwiseAttention(nn.Module):
    """HSTU's attention: silu in the place of softmax, so that how much there is of something is not normalised away.

    A place's weights are silu(query . key + bias) / max_length, with a learned bias for each distance, and if wanted
    for each class of the time that has passed. What they sum up is normalised, gated and projected (Zhai et al.,
    'Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative Recommendations', ICML
    2024, section 3). (T, D) -> (T, D)

    Args:
        dim: D
        heads: How many heads share the D columns.
        max_length: The longest row.
        timed: Whether there is a bias for the time that has passed. Rows without times do without it.
    """

    def __init__(self, dim: int, heads: int, max_length: int, timed: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.max_length = max_length
        self.gate_queries_keys_values = nn.Linear(dim, 4 * dim, bias=False)
        self.distance_bias = nn.Parameter(torch.zeros(heads, max_length))
        self.time_bias = nn.Parameter(torch.zeros(TIME_CLASSES, heads)) if timed else None
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, inputs: Tensor, groups: PaddedGroups) -> Tensor:
        """(T, D) -> (T, D)"""
        dim = inputs.shape[1]
        gate, *projected = silu(self.gate_queries_keys_values(inputs)).split([dim, 3 * dim], dim=1)
        mixed = []
        for n, padded in enumerate(groups.padded(projected[0])):
            queries, keys, values = _heads(padded, 3, self.heads)  # (b, H, l, D / H)
            scores = queries @ keys.transpose(2, 3)  # (b, H, l, l)
            scores = scores.add_(self._bias(padded.shape[1]))
            if self.time_bias is not None and groups.gaps is not None:
                scores = scores.add_(embedding(groups.gaps[n], self.time_bias).permute(0, 3, 1, 2))
            weights = silu(scores)
            mixed.append((weights @ (values / self.max_length)).transpose(1, 2).flatten(2))
        return self.out(self.norm(groups.flat(mixed)) * gate)

    def _bias(self, length: int) -> Tensor:
        """The bias of each place for each before it; what comes after it is hidden. (H, l, l)"""
        after = self.distance_bias.new_full((self.heads, length - 1), _HIDDEN)
        by_distance = torch.cat([self.distance_bias[:, :length].flip(1), after], dim=1)  # of l - 1, ..., 0, -1, ...
        return by_distance.unfold(1, length, 1).flip(1)  # row i begins with distance i


def _heads(padded: Tensor, parts: int, heads: int) -> Tensor:
    """Columns as parts and heads. (b, l, parts * D) -> (parts, b, H, l, D / H)"""
    return padded.unflatten(2, (parts, heads, -1)).permute(2, 0, 3, 1, 4)
