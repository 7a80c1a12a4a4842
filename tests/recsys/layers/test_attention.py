"""Attention over jagged rows, against the formulas written out for one row at a time."""

import math

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


@pytest.mark.parametrize("timed", [False, True])
def test_pointwise_attention_is_that_of_the_paper(timed: bool) -> None:
    torch.manual_seed(0)
    attention = PointwiseAttention(DIM, HEADS, max_length=50, timed=timed).double()
    torch.nn.init.normal_(attention.distance_bias)
    # seconds of a year, each asked for some time after it came
    times = torch.cat([torch.randint(0, 30_000_000, (length,)).sort().values for length in LENGTHS])
    asked = times + torch.randint(0, 1_000_000, times.shape)
    groups, rows = PaddedGroups.of(LENGTHS), zip(*(one.split(LENGTHS.tolist()) for one in (times, asked)), strict=True)
    if timed:
        torch.nn.init.normal_(attention.time_bias)
        groups = groups.with_gaps(times, asked)

    def expected(row: torch.Tensor) -> torch.Tensor:
        length = len(row)
        came, wanted_at = next(rows)
        gate, *rest = silu(attention.gate_queries_keys_values(row)).chunk(4, dim=1)
        queries, keys, values = map(_heads, rest)
        out = torch.zeros(HEADS, length, DIM // HEADS, dtype=row.dtype)
        for place in range(length):
            for before in range(place + 1):
                score = (queries[:, place] * keys[:, before]).sum(1) + attention.distance_bias[:, place - before]
                if timed:
                    passed = max(1, int(wanted_at[place] - came[before]))
                    score = score + attention.time_bias[min(127, int(math.log(passed) / 0.301))]
                out[:, place] += silu(score)[:, None] / 50 * values[:, before]
        mixed = layer_norm(out.transpose(0, 1).flatten(1), (DIM,), attention.norm.weight, attention.norm.bias)
        return attention.out(mixed * gate)

    values, wanted = _by_row(expected)
    torch.testing.assert_close(attention(values, groups), wanted)


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
    times = torch.tensor([0, 100, 10_000, 7])
    groups = PaddedGroups.of(torch.tensor([3, 1])).with_gaps(times, torch.tensor([100, 10_000, 10_001, 7]))
    assert groups.gaps[0][0].tril().tolist() == [[15, 0, 0], [30, 30, 0], [30, 30, 0]]


def test_classes_of_time_are_those_of_the_logarithm_of_any_time() -> None:
    near = [round(math.exp(0.301 * n)) + more for n in range(1, 105) for more in (-2, -1, 0, 1, 2)]
    passed = torch.tensor(
        [*near, -5, 0, 1, 2**62]
    )  # there float64 has every integer, or the class is far from its ends
    (gaps,) = PaddedGroups.of(torch.ones_like(passed)).with_gaps(torch.zeros_like(passed), passed).gaps
    expected = [min(127, int(math.log(max(1, one)) / 0.301)) for one in passed.tolist()]
    assert gaps.dtype == torch.int32 and gaps.flatten().tolist() == expected
