"""RLMRec's alignments against their formula, written out one item at a time."""

import math

import numpy as np
import pytest
import torch

from recsys.losses import alignment
from recsys.losses.alignment import TextAlignment

N, V, D = 30, 7, 4
KINDS = ("con", "gen")


def _texts() -> np.ndarray:
    texts = np.random.default_rng(0).normal(size=(N, V)).astype(np.float32)
    texts[::5] = 0  # say nothing
    return texts


def _aligned(kind: str, temperature: float = 0.2) -> TextAlignment:
    return TextAlignment(kind, D, _texts(), temperature).double()


def _slow(align: TextAlignment, made: dict[int, torch.Tensor]) -> torch.Tensor:
    """-log f(s_i, e_i) / sum over j of f(s_j, e_i), f = exp(cos / tau), averaged over the items i."""
    texts = torch.from_numpy(_texts()).double()

    def f(item: int, vector: torch.Tensor) -> torch.Tensor:
        one, other = (
            (align.perceptron(texts[item]), vector) if align.kind == "con" else (texts[item], align.perceptron(vector))
        )
        return torch.exp(one @ other / one.norm() / other.norm() / align.temperature)

    each = [-torch.log(f(item, made[item]) / sum(f(other, made[item]) for other in made)) for item in made]
    return torch.stack(each).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_and_its_gradients_are_the_formulas(kind: str, temperature: float) -> None:
    align = _aligned(kind, temperature)
    items = torch.tensor([3, 5, 1, 29, 7, 10, 2])  # 5 and 10 say nothing
    vectors = torch.randn(len(items), D, dtype=torch.float64, requires_grad=True)
    loss, n = align(vectors, items)
    made = {item: vectors[place] for place, item in enumerate(items.tolist()) if item % 5}
    expected = _slow(align, made)
    assert n == 5
    torch.testing.assert_close(loss, expected)
    weights = [vectors, *align.parameters()]
    wanted = torch.autograd.grad(expected, weights)
    for found, one in zip(torch.autograd.grad(loss, weights), wanted, strict=True):
        torch.testing.assert_close(found, one)


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_that_occurs_twice_is_taken_once(kind: str) -> None:
    align = _aligned(kind)
    items = torch.tensor([3, 8, 3, 6, 8, 3])
    vectors = torch.randn(6, D, dtype=torch.float64)
    loss, n = align(vectors, items)
    # by the last of its vectors, so that nothing is left to chance
    assert n == 3
    torch.testing.assert_close(loss, _slow(align, {3: vectors[5], 6: vectors[3], 8: vectors[4]}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("items", [[], [0, 5, 5]])
def test_a_batch_without_texts_costs_nothing_and_still_reaches_every_weight(kind: str, items: list[int]) -> None:
    align = _aligned(kind)
    vectors = torch.randn(len(items), D, dtype=torch.float64, requires_grad=True)
    loss, n = align(vectors, torch.tensor(items, dtype=torch.int64))
    loss.backward()
    assert n == 0 and loss == 0
    assert all(weight.grad is not None and not weight.grad.any() for weight in (vectors, *align.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_it_begins_near_not_knowing_and_can_be_learned(kind: str) -> None:
    torch.manual_seed(0)
    align = TextAlignment(kind, D, _texts(), 0.2)
    items = torch.tensor([item for item in range(N) if item % 5])
    vectors = torch.nn.Parameter(torch.randn(len(items), D))
    optimiser = torch.optim.Adam([vectors, *align.parameters()], lr=0.05)
    first, n = align(vectors, items)
    assert n == len(items) and abs(first.item() - math.log(n)) < 2
    for _ in range(100):
        optimiser.zero_grad()
        loss, _ = align(vectors, items)
        loss.backward()
        optimiser.step()
    assert loss.item() < first.item() / 4


def test_of_many_items_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MOST", 6)
    align = _aligned("con")
    items = torch.tensor([item for item in range(N) if item % 5])
    vectors = torch.randn(len(items), D, dtype=torch.float64)
    losses = {align(vectors, items)[0].item() for _ in range(5)}
    assert len(losses) > 1 and align(vectors, items)[1] == 6


def test_its_first_weights_are_the_seeds_and_draw_on_nothing() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    same = [TextAlignment("con", D, _texts(), 0.2, seed=3) for _ in range(2)]
    other = TextAlignment("con", D, _texts(), 0.2, seed=4)
    assert torch.equal(state, torch.get_rng_state())
    first, second, third = (one.perceptron[0].weight for one in (*same, other))
    assert torch.equal(first, second) and not torch.equal(first, third)
    assert not any(name.startswith(("texts", "told")) for name in other.state_dict())  # the catalogue is no weight


def test_the_perceptrons_are_as_wide_as_published() -> None:
    between = (V + D) // 2
    for kind, shapes in (("con", [(between, V), (D, between)]), ("gen", [(between, D), (V, between)])):
        assert [tuple(one.shape) for one in _aligned(kind).parameters() if one.dim() == 2] == shapes
