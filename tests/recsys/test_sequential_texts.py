"""Next-item recommenders that read texts: every way to take them in, with ids, attributes and neither."""

import numpy as np
import polars as pl
import pytest
import torch

from features.batches import FeatureBatch, Jagged, JaggedArray
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Categorical, FeatureSchema, Id, Sequence, Vector
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan
from recsys.fusion import fit_texts
from recsys.fusion_config import KINDS, FusionConfig
from recsys.retrievers import encode_catalogue
from recsys.sequential import Hidden, SequentialRecommender
from recsys.sequential_config import ITEMS, SequentialConfig

N, V, D = 40, 24, 16
FUSED = tuple(kind for kind in KINDS if kind != "none")
SCHEMA = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"), Categorical("brand"), Vector("told", size=V)))
VOCABULARIES = {
    "item_id": Vocabulary.fit("item_id", pl.Series("item_id", list(range(N)))),
    "brand": Vocabulary.fit("brand", pl.Series("brand", ["a", "b", "c"])),
}


def _items(known: int = N) -> FeatureTable:
    """Some items without text, and those from `known` on with ids that training has not seen."""
    random = np.random.default_rng(0)
    texts = random.normal(size=(N, V)).astype(np.float32)
    texts[::7] = 0
    ids = np.where(np.arange(N) < known, np.arange(N), -1)
    return FeatureTable(
        {
            "item_id": JaggedArray(ids, np.arange(N + 1)),
            "brand": JaggedArray(random.integers(0, 3, N), np.arange(N + 1)),
        },
        {"told": texts},
        N,
    )


def _model(
    kind: str = "add", backend: str = "torch", table: FeatureTable | None = None, **settings
) -> SequentialRecommender:
    torch.manual_seed(0)
    table = table or _items()
    defaults = {"dim": D, "max_length": 12, "layers": 2, "embeddings": EmbeddingPlan("collisionless", width=D)}
    config = SequentialConfig(**{**defaults, "fusion": FusionConfig(kind), **settings})
    model = SequentialRecommender(config, SCHEMA, VOCABULARIES, table, backend).eval()
    if config.fusion.reads_text:
        fit_texts(model, table.dense["told"])
    return model


def _history(*rows: list[int]) -> Jagged:
    flat = [value for row in rows for value in row]
    return Jagged(torch.tensor(flat, dtype=torch.int64), torch.tensor([len(row) for row in rows]))


def _users(*rows: list[int]) -> FeatureBatch:
    return FeatureBatch({"history": _history(*rows)}, {}, len(rows))


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("items", ITEMS)
@pytest.mark.parametrize("embeddings", ["collisionless", "multiplexed"])
@pytest.mark.parametrize("kind", FUSED)
def test_every_weight_is_read_and_every_item_has_a_vector(kind: str, embeddings: str, items: str, tie: bool) -> None:
    plan = EmbeddingPlan(embeddings, width=D, unknown_rate=0)
    model = _model(kind, items=items, tie=tie, embeddings=plan).train()
    vectors = encode_catalogue(model, _items())
    assert vectors.shape == (N, D) and torch.isfinite(vectors).all()
    found = model.encode_items(_items().take(np.arange(N)))
    (model.encode_users(_users(list(range(12)), [15, 16])) @ found.T).logsumexp(dim=1).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", FUSED)
@pytest.mark.parametrize("tie", [True, False])
def test_weights_make_the_same_model_elsewhere(kind: str, tie: bool) -> None:
    model = _model(kind, tie=tie, items="all")
    with torch.device("meta"):
        empty = SequentialRecommender(model.config, SCHEMA, VOCABULARIES, _items())
    empty.load_state_dict(model.state_dict(), assign=True)
    users = _users([1, 2, 3], [], [8])
    torch.testing.assert_close(empty.eval().encode_users(users), model.encode_users(users))
    torch.testing.assert_close(encode_catalogue(empty, _items()), encode_catalogue(model, _items()))


@pytest.mark.parametrize("kind", FUSED)
def test_both_backends_look_up_alike(kind: str) -> None:
    plain, torchrec = _model(kind), _model(kind, "torchrec")
    torchrec.load_state_dict(plain.state_dict())
    users = _users([1, 2, 3], [8])
    torch.testing.assert_close(torchrec.encode_users(users), plain.encode_users(users))
    torch.testing.assert_close(encode_catalogue(torchrec, _items()), encode_catalogue(plain, _items()))


@pytest.mark.parametrize("kind", ["text", "whitened"])
@pytest.mark.parametrize("embeddings", ["collisionless", "hashed", "multiplexed"])
@pytest.mark.parametrize("backend", ["torch", "torchrec", "sharded"])
def test_a_model_of_texts_alone_has_no_tables(kind: str, embeddings: str, backend: str) -> None:
    model = _model(kind, backend, embeddings=EmbeddingPlan(embeddings, width=D))
    assert model.embeddings.layout.parameters == 0 and not list(model.embeddings.parameters())
    assert model.encode_users(_users([1, 2], [])).shape == (2, D)


@pytest.mark.parametrize("kind", FUSED)
def test_texts_tell_new_items_apart(kind: str) -> None:
    """Items that training has not seen have one id vector, and still each its own."""
    table = _items(known=30)
    vectors = encode_catalogue(_model(kind, table=table), table)
    new = [row for row in range(30, N) if row % 7]
    assert len(torch.unique(vectors[new], dim=0)) == len(new)
    nameless = vectors[[35]]  # the only one of them without a text
    ids_alone = encode_catalogue(_model("none", table=table), table)
    assert len(torch.unique(ids_alone[30:], dim=0)) == 1 and torch.isfinite(nameless).all()


@pytest.mark.parametrize("kind", FUSED)
def test_the_text_of_a_history_counts(kind: str) -> None:
    changed = _items()
    changed.dense["told"][3] = -changed.dense["told"][3]
    model, other = _model(kind), _model(kind, table=changed)
    other.load_state_dict(model.state_dict())
    before, after = (one.encode_users(_users([1, 2, 3], [1, 2])) for one in (model, other))
    assert not torch.allclose(before[0], after[0], atol=1e-5)
    torch.testing.assert_close(before[1], after[1])


def test_an_alphafuse_table_is_as_narrow_as_what_is_learned() -> None:
    model = _model("alphafuse", fusion=FusionConfig("alphafuse", learned=5))
    (table,) = model.embeddings.parameters()
    assert table.shape == (N + 1, 5)
    vectors = encode_catalogue(model, _items())
    with torch.no_grad():
        table += 1
    moved = encode_catalogue(model, _items()) - vectors
    torch.testing.assert_close(moved, torch.ones(N, D) * (torch.arange(D) >= D - 5))


def test_texts_begin_longer_than_ids() -> None:
    table = _items()
    ids = encode_catalogue(_model("none"), table).norm(dim=1).mean()
    for kind in FUSED:
        assert ids < encode_catalogue(_model(kind), table).norm(dim=1).mean() < 2, kind


def test_hidden_items_are_not_seen_and_what_stands_there_is_learned() -> None:
    model = _model("none")
    stands = torch.nn.Parameter(torch.randn(D))
    places = torch.tensor([False, False, True, False])
    first, second = (model.hidden(_history([1, 2, item, 4]), hide=Hidden(places, stands)) for item in (3, 30))
    assert torch.equal(first, second)
    assert not torch.allclose(first[2:], model.hidden(_history([1, 2, 3, 4]))[2:], atol=1e-4)
    torch.testing.assert_close(first[:2], model.hidden(_history([1, 2, 3, 4]))[:2])
    first[2, 0].backward()
    assert stands.grad.abs().sum() > 0


def test_of_no_history_all_weights_have_a_gradient_of_0() -> None:
    """Another process may have all the rows of a batch, and waits for this one."""
    model = _model("add").train()
    stands = torch.nn.Parameter(torch.randn(D))
    found = model.hidden(_history([], []), hide=Hidden(torch.zeros(0, dtype=torch.bool), stands))
    assert found.shape == (0, D)
    found.sum().backward()
    assert all(one.grad is not None and not one.grad.any() for one in (stands, *model.parameters()))


def test_old_configurations_have_no_fusion() -> None:
    config = SequentialConfig(fusion=FusionConfig("concat", hidden=(8,), align="gen"))
    described = config.to_json()
    assert SequentialConfig.from_json(described) == config
    del described["fusion"]
    assert SequentialConfig.from_json(described).fusion == FusionConfig()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"fusion": FusionConfig("add")}, r"model.fusion.kind is 'add', and no item feature of kind 'vector'"),
        ({"fusion": FusionConfig(align="con")}, r"model.fusion.align is 'con', and no item feature"),
        ({"dim": 8, "fusion": FusionConfig("alphafuse", learned=9)}, r"learned is 9, more than the model.dim of 8"),
    ],
)
def test_what_cannot_be_is_told(settings: dict, told: str) -> None:
    schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"),))
    with pytest.raises(InputError, match=told):
        SequentialRecommender(SequentialConfig(**settings), schema, VOCABULARIES, _items())


def test_a_vector_wider_than_the_text() -> None:
    with pytest.raises(InputError, match=r"keeps model.dim 32 directions of the text, which has 24 dimensions"):
        _model("whitened", dim=32)
    assert encode_catalogue(_model("add", dim=32), _items()).shape == (N, 32)
