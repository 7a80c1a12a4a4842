"""Next-item recommenders: what a place knows, what an item is made of, and the configuration."""

import numpy as np
import polars as pl
import pytest
import torch

from features.batches import FeatureBatch, Jagged, JaggedArray
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Categorical, FeatureSchema, Id, MultiValued, Numeric, Sequence, Text
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan
from recsys.retrievers import FAMILIES, config_from_json, encode_catalogue, family_of, make_retriever
from recsys.sequential import SequentialRecommender
from recsys.sequential_config import BACKBONES, ITEMS, SequentialConfig
from recsys.two_tower import TwoTowerConfig

ITEM = (Id("item_id"), Categorical("brand"), MultiValued("tags"), Numeric("price"), Text("title"))
SCHEMA, TIMED = (FeatureSchema(user=(Sequence("history", timed=timed),), item=ITEM) for timed in (False, True))
N = 30
VOCABULARIES = {
    name: Vocabulary.fit(name, pl.Series(name, values))
    for name, values in {"item_id": list(range(N)), "brand": ["a", "b", "c"], "tags": ["x", "y"]}.items()
}


def _items(seed: int = 0) -> FeatureTable:
    random = np.random.default_rng(seed)
    tags = random.integers(0, 3, N)
    return FeatureTable(
        {
            "item_id": JaggedArray(np.arange(N), np.arange(N + 1)),
            "brand": JaggedArray(random.integers(-1, 3, N), np.arange(N + 1)),
            "tags": JaggedArray(random.integers(0, 2, tags.sum()), np.concatenate([[0], np.cumsum(tags)])),
        },
        {"price": random.normal(size=N).astype(np.float32)},
        N,
    )


def _model(table: FeatureTable | None = None, schema: FeatureSchema = SCHEMA, **settings) -> SequentialRecommender:
    torch.manual_seed(0)
    defaults = {"dim": 16, "max_length": 12, "embeddings": EmbeddingPlan("collisionless", width=16)}
    config = SequentialConfig(**{**defaults, **settings})
    return SequentialRecommender(config, schema, VOCABULARIES, table or _items()).eval()


def _jagged(*rows: list[int]) -> Jagged:
    flat = [value for row in rows for value in row]
    return Jagged(torch.tensor(flat, dtype=torch.int64), torch.tensor([len(row) for row in rows]))


def _users(*rows: list[int]) -> FeatureBatch:
    return FeatureBatch({"history": _jagged(*rows)}, {}, len(rows))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_place_knows_what_came_before_it_and_nothing_after(backbone: str) -> None:
    model = _model(backbone=backbone, positions=False)
    first, second = model.hidden(_jagged([1, 2, 3, 4, 5])), model.hidden(_jagged([1, 2, 3, 9, 9]))
    torch.testing.assert_close(first[:3], second[:3])
    assert not torch.allclose(first[3], second[3], atol=1e-4)
    third = model.hidden(_jagged([7, 2, 3, 4, 5]))
    assert not torch.allclose(first[4], third[4], atol=1e-7)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("items", ITEMS)
def test_a_user_has_one_vector_in_whatever_company(backbone: str, items: str) -> None:
    model = _model(backbone=backbone, items=items)
    random = np.random.default_rng(0)
    rows = [random.integers(0, N, size).tolist() for size in (1, 12, 3, 0, 7, 12, 5, 40)]
    together = model.encode_users(_users(*rows))
    alone = torch.cat([model.encode_users(_users(row)) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (together[3] == 0).all() and together[0].abs().sum() > 0


def test_only_the_end_of_a_long_history_is_read() -> None:
    model = _model()
    long = list(range(N)) * 100
    torch.testing.assert_close(model.encode_users(_users(long, [3])), model.encode_users(_users(long[-12:], [3])))


def test_order_counts() -> None:
    model = _model(positions=False)
    torch.nn.init.normal_(model.layers[-1].attention.distance_bias)  # which begins at nothing
    first, second = model.encode_users(_users([1, 2, 3], [2, 1, 3]))
    assert not torch.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("combine", ["sum", "concat"])
@pytest.mark.parametrize("items", ITEMS)
@pytest.mark.parametrize("kind", ["collisionless", "multiplexed"])
def test_gradients_reach_all_weights(items: str, combine: str, tie: bool, kind: str) -> None:
    plan = EmbeddingPlan(kind, width=8, unknown_rate=0)
    model = _model(items=items, combine=combine, tie=tie, embeddings=plan).train()
    vectors = model.encode_items(_items().take(np.arange(N)))
    (model.encode_users(_users(list(range(12)), [15, 16])) @ vectors.T).logsumexp(dim=1).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_ids_alone_in_one_table_are_the_vectors_themselves() -> None:
    model = _model()
    (table,) = model.embeddings.parameters()
    assert torch.equal(encode_catalogue(model, _items()), table[:N])


def test_an_item_without_id_is_found_by_its_attributes() -> None:
    """Two items with the same attributes are one to a model that reads attributes alone, whatever their ids."""
    items = _items()
    for jagged in (items.sparse["brand"],):
        jagged.values[4] = jagged.values[5] = 1
    items.dense["price"][4] = items.dense["price"][5] = 0.3
    items.sparse["tags"] = JaggedArray(np.empty(0, np.int64), np.zeros(N + 1, np.int64))
    by_attributes, by_all = (encode_catalogue(_model(items, items=what), items) for what in ("attributes", "all"))
    assert torch.equal(by_attributes[4], by_attributes[5]) and not torch.equal(by_all[4], by_all[5])


def test_the_catalogue_is_no_weight() -> None:
    model = _model(items="all")
    assert not any("catalogue" in name for name in model.state_dict())
    with torch.device("meta"):
        empty = SequentialRecommender(model.config, SCHEMA, VOCABULARIES, _items())
    empty.load_state_dict(model.state_dict(), assign=True)
    torch.testing.assert_close(empty.eval().encode_users(_users([1, 2])), model.encode_users(_users([1, 2])))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"heads": 3}, "model.dim 16 is not a multiple of model.heads 3"),
        ({"backbone": "gru"}, "model.backbone is 'gru', not one of sasrec, ligr, hstu"),
        ({"dropout": 1.0}, "model.dropout is in"),
        ({"max_length": 0}, "model.max_length is at least 1"),
        ({"items": "text"}, "model.items is 'text', not one of id, attributes, all"),
        ({"also_predict_weight": -1.0}, "model.also_predict_weight is 0 or more"),
        ({"embeddings": EmbeddingPlan(widths={"brand": 32})}, "model.combine is 'sum'"),
        ({"times": "events"}, "model.times is 'events', and the sequence feature 'history' is not .*timed: true"),
    ],
)
def test_wrong_settings_are_named(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        _model(**settings)


@pytest.mark.parametrize(
    ("schema", "items", "told"),
    [
        (FeatureSchema(user=(Id("user_id"),)), "id", "kind 'sequence'"),
        (FeatureSchema(item=(Id("item_id"), Text("title"))), "attributes", "neither id nor text"),
        (FeatureSchema(item=(Categorical("brand"),)), "id", "an item feature of kind 'id' is not declared"),
    ],
)
def test_what_the_data_lacks_is_named(schema: FeatureSchema, items: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        SequentialRecommender(SequentialConfig(items=items), schema, VOCABULARIES, _items())


def test_families_are_found_by_their_configuration_and_by_name() -> None:
    for config in (SequentialConfig(also_predict=("brand",), layers=3), TwoTowerConfig(user_hidden=(8,))):
        family = family_of(config)
        assert config_from_json(family, config.to_json()) == config and FAMILIES[family] is type(config)
        if family == "sequential":
            assert make_retriever(config, SCHEMA, VOCABULARIES, _items()).config is config
    with pytest.raises(InputError, match="no family of models 'gru'"):
        config_from_json("gru", {})


def test_biases_of_distance_and_time_begin_at_nothing() -> None:
    (first, *_) = _model(schema=TIMED, times="events").layers
    assert not first.attention.distance_bias.any() and not first.attention.time_bias.any()
    assert first.attention.out.weight.any()


def _timed(values: list[int], times: list[int], asked_at: int | None = None) -> FeatureBatch:
    history = Jagged(torch.tensor(values), torch.tensor([len(values)]), torch.tensor(times))
    return FeatureBatch({"history": history}, {}, 1, None if asked_at is None else torch.tensor([asked_at]))


@pytest.mark.parametrize("times", ["none", "events", "request"])
def test_time_is_known_as_far_as_it_is_declared(times: str) -> None:
    model = _model(schema=TIMED, times=times)
    for layer in model.layers:
        if times != "none":
            torch.nn.init.normal_(layer.attention.time_bias)
    early, late, other = (
        model.encode_users(_timed([1, 2, 3], *told))
        for told in (([0, 50, 60], 61), ([0, 50, 60], 9_000), ([0, 5, 60], 61))
    )
    assert torch.equal(early, late) == (times != "request")
    assert torch.equal(early, other) == (times == "none")
    # asked at once where nothing is said, and untimed histories are read, too
    assert torch.equal(
        model.encode_users(_timed([1, 2, 3], [0, 50, 60])), model.encode_users(_timed([1, 2, 3], [0, 50, 60], 60))
    )
    assert torch.isfinite(model.encode_users(_users([1, 2, 3]))).all()


def test_a_place_asks_when_the_next_item_came() -> None:
    model = _model(schema=TIMED, times="request", positions=False)
    torch.nn.init.normal_(model.layers[0].attention.time_bias)
    full = _timed([1, 2, 3, 4], [0, 50, 60, 900]).sparse["history"]
    part = _timed([1, 2, 3], [0, 50, 60])
    known = model.encode_users(FeatureBatch(part.sparse, {}, 1, torch.tensor([900])))
    torch.testing.assert_close(model.hidden(full)[2:3], known)
