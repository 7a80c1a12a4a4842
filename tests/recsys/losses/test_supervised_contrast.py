"""The supervised contrast is what its formula says, term by term."""

import math

import pytest
import torch

from recsys.losses.supervised_contrast import supervised_contrast


def by_hand(vectors: torch.Tensor, groups: list[int], temperature: float) -> float:
    """Khosla et al., equation 2, with loops."""
    unit = [vector / vector.norm() for vector in vectors]
    losses = []
    for n, one in enumerate(unit):
        same = [m for m in range(len(unit)) if m != n and groups[m] == groups[n]]
        if same:
            total = sum(math.exp(float(one @ unit[m]) / temperature) for m in range(len(unit)) if m != n)
            each = [math.log(math.exp(float(one @ unit[m]) / temperature) / total) for m in same]
            losses.append(-sum(each) / len(each))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("groups", [[0, 0, 1, 1], [0, 0, 0, 1], [3, 7, 3, 7, 3, 9], [0] * 5])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_it_is_what_the_formula_says(groups: list[int], temperature: float) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(len(groups), 6) * 3
    found = supervised_contrast(vectors, torch.tensor(groups), temperature)
    assert found.item() == pytest.approx(by_hand(vectors, groups, temperature), rel=1e-4)


def test_nothing_together_is_no_loss_and_no_gradient() -> None:
    vectors = torch.randn(4, 3, requires_grad=True)
    loss = supervised_contrast(vectors, torch.arange(4), 0.1)
    loss.backward()
    assert loss.item() == 0 and not vectors.grad.any()


def test_gradients_are_finite_and_draw_together() -> None:
    vectors = torch.tensor([[1.0, 0.1], [0.9, 0.2], [0.0, 1.0], [0.1, -1.0]], requires_grad=True)
    groups = torch.tensor([0, 1, 0, 1])
    before = supervised_contrast(vectors, groups, 0.1)
    before.backward()
    assert torch.isfinite(vectors.grad).all()
    with torch.no_grad():
        assert supervised_contrast(vectors - 0.05 * vectors.grad, groups, 0.1) < before
