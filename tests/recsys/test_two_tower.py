"""The two towers: shapes, similarity, what they depend on, and their configuration."""

import numpy as np
import polars as pl
import pytest
import torch

from features.batches import FeatureBatch, Jagged
from features.errors import InputError
from features.schema import Categorical, FeatureSchema, Id, MultiValued, Numeric, Sequence, Text
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan
from recsys.two_tower import TwoTower, TwoTowerConfig

SCHEMA = FeatureSchema(
    user=(Id("user_id"), Categorical("country"), Sequence("history")),
    item=(Id("item_id"), MultiValued("genres"), Numeric("price"), Text("title")),
)
VOCABULARIES = {
    name: Vocabulary.fit(name, pl.Series(name, values))
    for name, values in {
        "user_id": ["ann", "bob", "cem"],
        "country": ["de", "fr"],
        "item_id": [10, 20, 30, 40],
        "genres": ["drama", "war"],
    }.items()
}


def _jagged(*rows: list[int]) -> Jagged:
    return Jagged(
        torch.tensor([value for row in rows for value in row], dtype=torch.int64),
        torch.tensor([len(row) for row in rows]),
    )


def _users(history: list[int]) -> FeatureBatch:
    sparse = {"user_id": _jagged([0], [-1]), "country": _jagged([1], []), "history": _jagged(history, [])}
    return FeatureBatch(sparse, {}, 2)


def _items(price: float = 0.5) -> FeatureBatch:
    sparse = {"item_id": _jagged([0], [1], [-1]), "genres": _jagged([0, 1], [], [1])}
    return FeatureBatch(sparse, {"price": torch.tensor([price, -1.0, 0.0])}, 3)


def _model(**settings) -> TwoTower:
    torch.manual_seed(0)
    config = TwoTowerConfig(**{"dim": 6, "embeddings": EmbeddingPlan(width=8), **settings})
    return TwoTower(config, SCHEMA, VOCABULARIES).eval()


@pytest.mark.parametrize("kind", ["collisionless", "multiplexed"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [(), (16,)])
def test_vectors_have_the_declared_width(kind: str, bias: bool, hidden: tuple[int, ...]) -> None:
    model = _model(item_bias=bias, user_hidden=hidden, item_hidden=hidden, embeddings=EmbeddingPlan(kind=kind, width=8))
    users, items = model.encode_users(_users([0, 3])), model.encode_items(_items())
    assert users.shape == (2, model.dim) and items.shape == (3, model.dim) and model.dim == 6 + bias
    assert torch.isfinite(users).all() and torch.isfinite(items).all()
    assert not torch.equal(users[0], users[1])


def test_cosine_scores_are_the_cosine_over_the_temperature_plus_the_bias() -> None:
    model = _model(similarity="cosine", temperature=0.25, item_bias=True)
    users, items = model.encode_users(_users([1])), model.encode_items(_items())
    cosine = torch.nn.functional.cosine_similarity(users[:, None, :6], items[None, :, :6], dim=2)
    torch.testing.assert_close(users @ items.T, cosine / 0.25 + items[:, 6])


def test_every_declared_feature_reaches_the_vector() -> None:
    model = _model()
    before = model.encode_users(_users([0, 3]))
    assert not torch.equal(before[0], model.encode_users(_users([0, 2]))[0])
    items = model.encode_items(_items())
    dearer = model.encode_items(_items(price=3.0))
    assert not torch.equal(items[0], dearer[0]) and torch.equal(items[1], dearer[1])


@pytest.mark.parametrize("kind", ["collisionless", "multiplexed"])
def test_a_tied_history_uses_the_items_own_embeddings(kind: str) -> None:
    plan = EmbeddingPlan(kind=kind, width=8)
    sizes = {
        tied: sum(one.numel() for one in _model(embeddings=plan, tie_history=tied).parameters())
        for tied in (True, False)
    }
    assert sizes[False] - sizes[True] == (4 + 1) * 8  # a row of width 8 for each of 4 items and the unknown one
    tied = _model(embeddings=plan, tie_history=True)
    sparse = {"item_id": _jagged([2]), "history": _jagged([2])}
    torch.testing.assert_close(tied.embeddings(sparse)["item_id"], tied.embeddings(sparse)["history"])


def test_a_user_vector_does_not_depend_on_its_batch() -> None:
    model = _model()
    both = model.encode_users(_users([0, 3]))
    alone = FeatureBatch({"user_id": _jagged([0]), "country": _jagged([1]), "history": _jagged([0, 3])}, {}, 1)
    torch.testing.assert_close(model.encode_users(alone)[0], both[0])


def test_configuration_survives_json() -> None:
    config = TwoTowerConfig(dim=3, user_hidden=(4, 5), embeddings=EmbeddingPlan(kind="collisionless"))
    assert TwoTowerConfig.from_json(config.to_json()) == config


def test_a_history_needs_item_ids() -> None:
    schema = FeatureSchema(user=(Sequence("history"),), item=(MultiValued("genres"),))
    with pytest.raises(InputError, match=r"history.*'id'"):
        TwoTower(TwoTowerConfig(), schema, VOCABULARIES)


@pytest.mark.parametrize(
    ("setting", "named"), [({"dim": 0}, "dim"), ({"dropout": 1.0}, "dropout"), ({"temperature": 0}, "temperature")]
)
def test_wrong_settings_are_named(setting: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        TwoTowerConfig(**setting)


def test_weights_are_those_of_the_torchrec_backend() -> None:
    plain = _model()
    torchrec = TwoTower(plain.config, SCHEMA, VOCABULARIES, backend="torchrec").eval()
    torchrec.load_state_dict(plain.state_dict())
    torch.testing.assert_close(torchrec.encode_users(_users([0, 3])), plain.encode_users(_users([0, 3])))
    torch.testing.assert_close(torchrec.encode_items(_items()), plain.encode_items(_items()))
    assert np.isclose(sum(one.numel() for one in plain.parameters()), sum(one.numel() for one in torchrec.parameters()))
