"""Poolings against their published formulas, written out head by head on fixed weights."""

import pytest
import torch
from torch import Tensor

from recsys.text_encoders.pooling import (
    UNTRAINED,
    CrossAttention,
    LatentAttention,
    LayersAttention,
    trained_pooling,
)

B, L, H = 3, 5, 12


def _states() -> tuple[Tensor, Tensor]:
    """Padding holds what must not count."""
    torch.manual_seed(0)
    mask = torch.arange(L) < torch.tensor([5, 1, 3])[:, None]
    states = torch.randn(B, L, H, dtype=torch.float64)
    return torch.where(mask[:, :, None], states, 1e6), mask


def _norm(states: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    centred = states - states.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def _gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def _block(block: CrossAttention, asking: Tensor, context: Tensor) -> Tensor:
    """Pre-norm attention and a pre-norm GEGLU perceptron, both residual, as NV-Embed has. (Q, H), (K, H) -> (Q, H)"""
    query = _norm(asking, block.norm) @ block.to_q.weight.T
    key, value = (_norm(context, block.norm_context) @ block.to_kv.weight.T).chunk(2, dim=-1)
    heads = []
    for q, k, v in zip(*(one.chunk(block.heads, dim=-1) for one in (query, key, value)), strict=True):
        heads.append(torch.softmax(q @ k.T / q.shape[-1] ** 0.5, dim=-1) @ v)
    asking = torch.cat(heads, dim=-1) @ block.to_out.weight.T + asking
    x, gates = (_norm(asking, block.norm_after) @ block.widen.weight.T + block.widen.bias).chunk(2, dim=-1)
    return (x * _gelu(gates)) @ block.narrow.weight.T + block.narrow.bias + asking


def _drawn(pool: torch.nn.Module) -> torch.nn.Module:
    """Fixed weights, those of norms too."""
    generator = torch.Generator().manual_seed(1)
    for weight in pool.parameters():
        torch.nn.init.normal_(weight, std=0.4, generator=generator)
    return pool.double()


def test_latent_attention_is_nv_embeds() -> None:
    pool = _drawn(LatentAttention(H, latents=7, heads=2, head_dim=4))
    states, mask = _states()
    found = pool(states, mask)
    for row in range(B):
        tokens = states[row, mask[row]]
        # the tokens ask, and the latents are keys and values
        expected = _block(pool.attend, tokens, pool.latents).mean(dim=0)
        torch.testing.assert_close(found[row].double(), expected, rtol=1e-5, atol=1e-5)


def test_attention_over_layers_is_its_formula() -> None:
    pool = _drawn(LayersAttention(H, layers=4, latents=3, heads=2, head_dim=5))
    last = torch.randn(B, 4, H, dtype=torch.float64)
    found = pool(last)
    for row in range(B):
        # the latents ask, and the layers' states, each with a vector that says which it is, are keys and values
        expected = _block(pool.attend, pool.latents, last[row] + pool.layer).mean(dim=0)
        torch.testing.assert_close(found[row], expected)


@pytest.mark.parametrize("kind", ["mean", "cls", "last"])
def test_padding_does_not_count(kind: str) -> None:
    states, mask = _states()
    found = UNTRAINED[kind](states, mask)
    for row in range(B):
        tokens = states[row, mask[row]]
        expected = {"mean": tokens.mean(dim=0), "cls": tokens[0], "last": tokens[-1]}[kind]
        torch.testing.assert_close(found[row].double(), expected, rtol=1e-5, atol=1e-5)


def test_means_of_half_precision_are_taken_in_float32() -> None:
    states = torch.full((1, 4096, 1), 1 + 2**-7).bfloat16()
    assert UNTRAINED["mean"](states, torch.ones(1, 4096, dtype=torch.bool)).item() == 1 + 2**-7


@pytest.mark.parametrize("kind", ["latent", "layers"])
def test_all_weights_are_trained(kind: str) -> None:
    pool = _drawn(trained_pooling(kind, H, 4, latents=3, heads=2, head_dim=4))
    states, mask = _states()
    inputs = (states.masked_fill(~mask[:, :, None], 0), mask) if kind == "latent" else (states[:, :4].clamp(-3, 3),)
    pool(*inputs).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in pool.parameters())


def test_the_published_sizes_are_the_defaults() -> None:
    latent, layers = LatentAttention(8), LayersAttention(8, layers=3)
    assert latent.latents.shape == (512, 8) and latent.attend.heads == layers.attend.heads == 8
    assert layers.layer.shape == (3, 8) and not layers.layer.any()
    assert (
        latent.attend.widen.out_features == 64 and latent.attend.narrow.in_features == 32
    )  # GEGLU, four times as wide
