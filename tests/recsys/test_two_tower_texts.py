"""Two towers that read texts: every way to take them in, in the items and in the histories."""

import numpy as np
import polars as pl
import pytest
import torch

from features.batches import FeatureBatch, Jagged, JaggedArray
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Categorical, FeatureSchema, Id, Numeric, Sequence, Vector
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan
from recsys.fusion import fit_texts
from recsys.fusion_config import KINDS, FusionConfig
from recsys.retrievers import encode_catalogue
from recsys.two_tower import TwoTower, TwoTowerConfig

N, V, D = 40, 12, 6
FUSED = tuple(kind for kind in KINDS if kind != "none")
ITEM = (Id("item_id"), Categorical("brand"), Vector("told", size=V))
SCHEMA = FeatureSchema(user=(Sequence("history"),), item=ITEM)
VOCABULARIES = {
    "item_id": Vocabulary.fit("item_id", pl.Series("item_id", list(range(N)))),
    "brand": Vocabulary.fit("brand", pl.Series("brand", ["a", "b", "c"])),
}


def _items() -> FeatureTable:
    random = np.random.default_rng(0)
    texts = random.normal(size=(N, V)).astype(np.float32)
    texts[::7] = 0
    return FeatureTable(
        {
            "item_id": JaggedArray(np.where(np.arange(N) < 30, np.arange(N), -1), np.arange(N + 1)),
            "brand": JaggedArray(random.integers(0, 3, N), np.arange(N + 1)),
        },
        {"told": texts},
        N,
    )


def _model(kind: str = "add", backend: str = "torch", schema: FeatureSchema = SCHEMA, **settings) -> TwoTower:
    torch.manual_seed(0)
    defaults = {"dim": D, "embeddings": EmbeddingPlan(width=8, unknown_rate=0), "fusion": FusionConfig(kind)}
    config = TwoTowerConfig(**{**defaults, **settings})
    model = TwoTower(config, schema, VOCABULARIES, _items(), backend).eval()
    if config.fusion.reads_text:
        fit_texts(model, _items().dense["told"])
    return model


def _users(*rows: list[int]) -> FeatureBatch:
    flat = [value for row in rows for value in row]
    history = Jagged(torch.tensor(flat, dtype=torch.int64), torch.tensor([len(row) for row in rows]))
    return FeatureBatch({"history": history}, {}, len(rows))


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("kind", FUSED)
def test_every_weight_is_read_and_every_item_has_a_vector(kind: str, tie: bool, bias: bool, similarity: str) -> None:
    if bias and kind in ("text", "whitened"):
        with pytest.raises(InputError, match=r"item_bias is learned for items, and model.fusion.kind"):
            _model(kind, item_bias=True)
        return
    model = _model(kind, tie_history=tie, item_bias=bias, similarity=similarity).train()
    users, items = model.encode_users(_users([1, 2, 3], [])), model.encode_items(_items().take(np.arange(N)))
    assert users.shape == (2, D + bias) and items.shape == (N, D + bias) and model.dim == D + bias
    assert torch.isfinite(items).all() and torch.isfinite(users).all()
    if similarity == "cosine":
        torch.testing.assert_close(items[:, :D].norm(dim=1)[1:7], torch.ones(6))
    (users @ items.T).logsumexp(dim=1).sum().backward()
    for name, weight in model.named_parameters():
        if (name, kind, similarity) != ("fusion.gain", "whitened", "cosine"):  # a cosine does not hear how loud
            assert weight.grad is not None and weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", FUSED)
def test_weights_make_the_same_model_elsewhere_and_with_either_backend(kind: str) -> None:
    model = _model(kind)
    with torch.device("meta"):
        empty = TwoTower(model.config, SCHEMA, VOCABULARIES, _items())
    empty.load_state_dict(model.state_dict(), assign=True)
    torchrec = _model(kind, "torchrec")
    torchrec.load_state_dict(model.state_dict())
    for other in (empty.eval(), torchrec):
        torch.testing.assert_close(other.encode_users(_users([1, 2], [])), model.encode_users(_users([1, 2], [])))
        torch.testing.assert_close(encode_catalogue(other, _items()), encode_catalogue(model, _items()))


@pytest.mark.parametrize("kind", FUSED)
def test_texts_tell_new_items_apart(kind: str) -> None:
    vectors = encode_catalogue(_model(kind), _items())
    told = [row for row in range(30, N) if row % 7]
    assert len(torch.unique(vectors[told], dim=0)) == len(told)


@pytest.mark.parametrize("kind", FUSED)
def test_what_the_items_of_a_history_say_reaches_the_user(kind: str) -> None:
    """Two users whose histories no table can tell apart."""
    model = _model(kind, user_hidden=(8,))
    for weight in model.embeddings.parameters():
        torch.nn.init.zeros_(weight)
    first, second = model.encode_users(_users([1, 2], [3]))
    assert not torch.allclose(first, second, atol=1e-4)
    mean = model.history_texts(_users([1, 2]))
    expected = model.history_texts.text(torch.from_numpy(_items().dense["told"][[1, 2]].mean(axis=0)))
    torch.testing.assert_close(mean[0], expected)


def test_alphafuse_keeps_the_text_beside_the_bias() -> None:
    model = _model(item_bias=True, similarity="dot", fusion=FusionConfig("alphafuse", learned=2))
    before = encode_catalogue(model, _items())
    with torch.no_grad():
        model.item_tower.layers[-1].bias += 1
    moved = encode_catalogue(model, _items()) - before
    torch.testing.assert_close(moved, torch.tensor([0.0] * (D - 2) + [1, 1, 1]).expand(N, -1))


@pytest.mark.parametrize("backend", ["torch", "torchrec", "sharded"])
def test_towers_without_any_table(backend: str) -> None:
    schema = FeatureSchema(user=(Numeric("age"),), item=ITEM)
    model = _model("text", backend, schema)
    assert model.embeddings.layout.parameters == 0 and model.history_texts is None
    assert model.encode_users(FeatureBatch({}, {"age": torch.ones(3)}, 3)).shape == (3, D)
    assert encode_catalogue(model, _items()).shape == (N, D)


def test_a_model_that_reads_the_texts_of_histories_needs_the_items() -> None:
    with pytest.raises(InputError, match=r"model.fusion.kind 'add' reads items' texts: give the items"):
        TwoTower(TwoTowerConfig(dim=D, fusion=FusionConfig("add")), SCHEMA, VOCABULARIES)


def test_a_model_that_is_only_aligned_reads_no_text() -> None:
    model = _model("none", fusion=FusionConfig(align="con"))
    assert model.fusion is None and model.history_texts is None
    plain = _model("none")
    assert torch.equal(encode_catalogue(model, _items()), encode_catalogue(plain, _items()))
    with pytest.raises(InputError, match=r"align is 'con', and no item feature of kind 'vector'"):
        _model("none", schema=FeatureSchema(item=ITEM[:2]), fusion=FusionConfig(align="con"))


def test_old_configurations_have_no_fusion() -> None:
    config = TwoTowerConfig(fusion=FusionConfig("alphafuse", learned=3))
    described = config.to_json()
    assert TwoTowerConfig.from_json(described) == config
    del described["fusion"]
    assert TwoTowerConfig.from_json(described).fusion == FusionConfig()
