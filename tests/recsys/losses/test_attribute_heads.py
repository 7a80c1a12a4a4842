"""Heads that predict attributes: their loss against the formula, and what is not known counts nothing."""

import math

import numpy as np
import polars as pl
import pytest
import torch

from features.batches import JaggedArray
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Categorical, FeatureSchema, Id, MultiValued, Numeric
from features.vocabulary import Vocabulary
from recsys.losses.attribute_heads import AttributeHeads

N, D = 60, 16
SCHEMA = FeatureSchema(item=(Id("item_id"), Categorical("brand"), MultiValued("tags"), Numeric("price")))
VOCABULARIES = {
    "brand": Vocabulary.fit("brand", pl.Series("brand", ["a", "b", "c"])),
    "tags": Vocabulary.fit("tags", pl.Series("tags", ["w", "x", "y", "z"])),
}


def _items() -> FeatureTable:
    """Half of the brands are missing or not known, and items have none to three tags, of which some are not known."""
    random = np.random.default_rng(0)
    has = random.random(N) < 0.7
    counts = random.integers(0, 4, N)
    sparse = {
        "brand": JaggedArray(random.integers(-1, 3, has.sum()), np.concatenate([[0], np.cumsum(has)])),
        "tags": JaggedArray(random.integers(-1, 4, counts.sum()), np.concatenate([[0], np.cumsum(counts)])),
    }
    return FeatureTable(sparse, {}, N)


def _heads(*names: str) -> AttributeHeads:
    torch.manual_seed(0)
    heads = AttributeHeads(D, names, SCHEMA, VOCABULARIES, _items())
    for weight in heads.parameters():
        torch.nn.init.normal_(weight)
    return heads.double()


def _slow(head: torch.nn.Linear, hidden: torch.Tensor, targets: torch.Tensor, name: str) -> tuple[torch.Tensor, int]:
    losses = []
    for vector, target in zip(hidden, targets.tolist(), strict=True):
        values = [value for value in _items().sparse[name].row(target).tolist() if value >= 0]
        if values:
            losses.append(-head(vector).log_softmax(dim=0)[values].mean())
    return sum(losses), len(losses)


def test_the_loss_is_the_cross_entropy_over_what_is_known_and_so_is_its_gradient() -> None:
    heads = _heads("tags", "brand")
    hidden = torch.randn(200, D, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, N, (200,))
    expected = [_slow(head, hidden, targets, name) for head, name in zip(heads.heads, heads.names, strict=True)]
    assert all(0 < known < 200 for _, known in expected)
    losses, known = heads(hidden, targets)
    torch.testing.assert_close(losses, torch.stack([loss for loss, _ in expected]))
    assert known.tolist() == [number for _, number in expected]
    weights = [hidden, *heads.parameters()]
    wanted = torch.autograd.grad(sum(loss for loss, _ in expected), weights)
    for found, one in zip(torch.autograd.grad(losses.sum(), weights), wanted, strict=True):
        torch.testing.assert_close(found, one)


@pytest.mark.parametrize("n", [0, 5], ids=["no targets", "targets without values"])
def test_what_is_not_known_costs_nothing_and_still_reaches_every_weight(n: int) -> None:
    heads = _heads("brand", "tags")
    nameless = [row for row in range(N) if not any((_items().sparse[name].row(row) >= 0).any() for name in heads.names)]
    hidden = torch.randn(n, D, dtype=torch.float64, requires_grad=True)
    losses, known = heads(hidden, torch.tensor(nameless[:1] * n, dtype=torch.int64))
    losses.sum().backward()
    assert losses.abs().max() < 1e-12 and known.tolist() == [0, 0]
    assert all(weight.grad is not None and not weight.grad.any() for weight in (hidden, *heads.parameters()))


def test_heads_begin_near_not_knowing() -> None:
    heads = AttributeHeads(D, ["brand"], SCHEMA, VOCABULARIES, _items())
    losses, known = heads(torch.randn(N, D), torch.arange(N))
    assert float(losses.detach() / known) == pytest.approx(math.log(3), abs=0.2)
    assert heads.state_dict().keys() == {"heads.0.weight", "heads.0.bias"}  # the catalogue is no weight


@pytest.mark.parametrize("name", ["price", "item_id", "colour"])
def test_what_cannot_be_predicted_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}', which is no categorical or multi-valued .* are: brand, tags"):
        AttributeHeads(D, [name], SCHEMA, VOCABULARIES, _items())
