import json

import numpy as np
import polars as pl
import pytest
import torch

from features.batches import FeatureBatch, Jagged
from features.errors import InputError
from features.schema import Categorical, MultiValued, Numeric, Sequence, Text
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan
from recsys.layers import CrossLayers
from recsys.ranking import Ranker, RankerConfig

FEATURES = (Categorical("app"), Numeric("hour"), MultiValued("tags"), Sequence("history"), Text("title"))
VOCABULARIES = {name: Vocabulary.fit(name, pl.Series(range(7))) for name in ("app", "tags", "history")}
KINDS = ("collisionless", "hashed", "multiplexed")


def batch() -> FeatureBatch:
    ones = torch.ones(3, dtype=torch.int64)
    return FeatureBatch(
        sparse={
            "app": Jagged(torch.tensor([2, -1, 6]), ones),
            "tags": Jagged(torch.tensor([0, 5, 5]), torch.tensor([2, 0, 1])),
            "history": Jagged(torch.tensor([1, 4]), torch.tensor([0, 2, 0])),
            "another": Jagged(torch.tensor([1, 4, 0]), ones),  # of somebody else's model, in the same batch
        },
        dense={"hour": torch.tensor([0.5, -1.0, 2.0]), "day": torch.zeros(3)},
        size=3,
    )


def ranker(backend: str = "torch", features: tuple = FEATURES, **settings) -> Ranker:
    plan = EmbeddingPlan(**{"width": 4, "budget": 0.5, **settings.pop("embeddings", {})})
    return Ranker(RankerConfig(hidden=(5,), embeddings=plan, **settings), features, VOCABULARIES, backend)


def test_a_cross_layer_is_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    cross = CrossLayers(3, 2)
    inputs = torch.randn(2, 3)
    crossed = inputs.clone()
    for layer in cross.layers:
        weight, bias = layer.weight, layer.bias
        crossed = torch.stack([x0 * (weight @ x + bias) + x for x0, x in zip(inputs, crossed, strict=True)])
    torch.testing.assert_close(cross(inputs), crossed)
    assert CrossLayers(3, 0)(inputs) is inputs


def test_cross_layers_make_products_of_the_features_and_none_of_higher_degree() -> None:
    # along a line through the origin, l layers are a polynomial of degree l + 1: differences of order l + 2 vanish
    cross = CrossLayers(4, 2).double()
    direction = torch.randn(4, dtype=torch.float64)
    steps = torch.arange(7, dtype=torch.float64)[:, None]
    out = cross(steps * direction).detach().numpy()
    assert np.abs(np.diff(out, n=3, axis=0)).max() > 1e-6
    assert np.abs(np.diff(out, n=4, axis=0)).max() < 1e-6


def test_the_logit_is_stacked_cross_then_perceptron() -> None:
    model = ranker().eval()
    inputs = model.inputs(batch())
    assert inputs.shape == (3, 3 * 4 + 1) and inputs[:, -1].tolist() == [0.5, -1.0, 2.0]
    first, out = model.deep[0], model.logit
    expected = torch.relu(model.cross(inputs) @ first.weight.T + first.bias) @ out.weight.T + out.bias
    torch.testing.assert_close(model(batch()), expected.squeeze(1))
    assert model(batch()).shape == (3,)


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_serving_look_ups_give_the_same_logits(kind: str) -> None:
    serving = ranker(embeddings={"kind": kind}).eval()
    training = ranker("torchrec", embeddings={"kind": kind}).eval()
    training.load_state_dict(serving.state_dict())
    torch.testing.assert_close(training(batch()), serving(batch()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns(kind: str) -> None:
    model = ranker(embeddings={"kind": kind, "unknown_rate": 0.0})
    model(batch()).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


def test_rows_do_not_depend_on_each_other() -> None:
    model = ranker().eval()
    whole = batch()
    alone = FeatureBatch(
        sparse={
            name: Jagged(one.values[len(one.values) - int(one.lengths[2]) :], one.lengths[2:])
            for name, one in whole.sparse.items()
        },
        dense={name: one[2:] for name, one in whole.dense.items()},
        size=1,
    )
    torch.testing.assert_close(model(alone), model(whole)[2:])


def test_dropout_is_for_training_and_spares_the_numbers() -> None:
    model = ranker(features=(Numeric("hour"),), embedding_dropout=0.9)
    torch.testing.assert_close(model(batch()), model.eval()(batch()))
    model = ranker(embedding_dropout=0.5, dropout=0.5)
    torch.manual_seed(0)
    assert not torch.equal(model(batch()), model(batch()))
    model.eval()
    assert torch.equal(model(batch()), model(batch()))


def test_a_configuration_survives_json() -> None:
    config = RankerConfig(cross_layers=2, hidden=(8, 4), embeddings=EmbeddingPlan(widths={"app": 96}))
    assert RankerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RankerConfig(cross_layers=-1), "cross_layers is 0 or more"),
        (lambda: RankerConfig(hidden=(0,)), "hidden has widths of at least 1"),
        (lambda: RankerConfig(embedding_dropout=1.0), "embedding_dropout is in"),
        (lambda: ranker(features=(Text("title"),)), "at least one feature that is not text"),
        (lambda: ranker(features=(Categorical("zip"),)), "'zip' has no vocabulary"),
        (lambda: ranker(features=(Categorical("app"), Numeric("app"))), "'app' is declared 2 times"),
    ],
)
def test_what_cannot_be_a_ranker_is_refused_by_name(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
