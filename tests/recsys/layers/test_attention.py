"""Attention over jagged rows, against the formulas written out for one row at a time."""

import pytest
import torch
from torch.nn.functional import layer_norm, silu

from recsys.layers.attention import CausalAttention, PointwiseAttention
from recsys.layers.padded import PaddedGroups

LENGTHS = torch.tensor([3, 25, 1, 0, 40])
DIM, HEADS = 8, 2


def _by_row(function) -> torch.Tensor:
    """Applies a function to each row of random values, and gives the values and what came out."""
    torch.manual_seed(3)
    values = torch.randn(int(LENGTHS.sum()), DIM, dtype=torch.float64)
    return values, torch.cat([function(row) for row in values.split(LENGTHS.tolist())])


def _heads(columns: torch.Tensor) -> torch.Tensor:
    return columns.unflatten(1, (HEADS, -1)).transpose(0, 1)  # (H, l, D / H)


def test_softmax_attention_is_the_textbook_one() -> None:
    torch.manual_seed(0)
    attention = CausalAttention(DIM, HEADS).double()

    def expected(row: torch.Tensor) -> torch.Tensor:
        queries, keys, values = map(_heads, attention.queries_keys_values(row).chunk(3, dim=1))
        scores = queries @ keys.transpose(1, 2) / (DIM // HEADS) ** 0.5
        hidden = torch.ones(len(row), len(row)).triu(1).bool()
        weights = scores.masked_fill(hidden, float("-inf")).softmax(dim=2)
        return attention.out((weights @ values).transpose(0, 1).flatten(1))

    values, wanted = _by_row(expected)
    torch.testing.assert_close(attention(values, PaddedGroups.of(LENGTHS)), wanted)


def test_pointwise_attention_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    attention = PointwiseAttention(DIM, HEADS, max_length=50).double()
    torch.nn.init.normal_(attention.distance_bias)

    def expected(row: torch.Tensor) -> torch.Tensor:
        length = len(row)
        gate, *rest = silu(attention.gate_queries_keys_values(row)).chunk(4, dim=1)
        queries, keys, values = map(_heads, rest)
        out = torch.zeros(HEADS, length, DIM // HEADS, dtype=row.dtype)
        for place in range(length):
            for before in range(place + 1):
                score = (queries[:, place] * keys[:, before]).sum(1) + attention.distance_bias[:, place - before]
                out[:, place] += silu(score)[:, None] / 50 * values[:, before]
        mixed = layer_norm(out.transpose(0, 1).flatten(1), (DIM,), attention.norm.weight, attention.norm.bias)
        return attention.out(mixed * gate)

    values, wanted = _by_row(expected)
    torch.testing.assert_close(attention(values, PaddedGroups.of(LENGTHS)), wanted)


@pytest.mark.parametrize("attention", [CausalAttention(DIM, HEADS), PointwiseAttention(DIM, HEADS, 50)])
def test_gradients_of_padding_reach_nothing(attention: torch.nn.Module) -> None:
    """Rows padded together have the gradients that they have alone."""
    torch.manual_seed(0)
    values = torch.randn(7, DIM, requires_grad=True)
    together = attention(values, PaddedGroups.of(torch.tensor([2, 5])))
    (gradient,) = torch.autograd.grad(together.square().sum(), values)
    alone = [attention(row, PaddedGroups.of(torch.tensor([len(row)]))).square().sum() for row in values.split([2, 5])]
    torch.testing.assert_close(gradient, torch.autograd.grad(sum(alone), values)[0])


def test_the_time_that_has_passed_is_in_classes_of_its_logarithm() -> None:
    attention = PointwiseAttention(DIM, 1, max_length=50, timed=True).double()
    times = torch.tensor([0, 100, 10_000, 7])
    groups = PaddedGroups.of(torch.tensor([3, 1])).with_gaps(times, torch.tensor([100, 10_000, 10_001, 7]))
    assert groups.gaps[0][0].tril().tolist() == [[15, 0, 0], [30, 30, 0], [30, 30, 0]]
    torch.nn.init.zeros_(attention.gate_queries_keys_values.weight)
    values = torch.zeros(4, DIM, dtype=torch.float64)
    assert torch.equal(attention(values, groups), attention(values, PaddedGroups.of(torch.tensor([3, 1]))))
