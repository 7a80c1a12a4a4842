"""Items that training has not seen, ranked higher or lower by one number; what training sees is not touched by it."""

import dataclasses

import numpy as np
import pytest
import torch

from features.errors import InputError
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, MultiValued, Sequence
from features.sources import load
from features.splits import cold_items
from recsys.embeddings import EmbeddingPlan
from recsys.retrievers import RetrieverConfig, encode_catalogue, make_retriever
from recsys.sequential_config import SequentialConfig
from recsys.two_tower import TwoTowerConfig
from training.evaluation import Evaluation, ModelScores

CONFIGS = {
    "two-tower": TwoTowerConfig(dim=8, embeddings=EmbeddingPlan("collisionless", width=8)),
    "biased": TwoTowerConfig(
        dim=8, similarity="dot", item_bias=True, embeddings=EmbeddingPlan("collisionless", width=8)
    ),
    "sequential": SequentialConfig(
        dim=8, layers=1, items="all", embeddings=EmbeddingPlan("collisionless", width=8), max_length=20
    ),
}


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    dataset = load("generated", interactions=2000)
    schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"), MultiValued("genres")))
    dataset = dataclasses.replace(dataset, schema=schema)
    return Prepared.of(dataset, cold_items(dataset))


def made(prepared: Prepared, config: RetrieverConfig, scale: float) -> torch.nn.Module:
    torch.manual_seed(0)
    config = dataclasses.replace(config, new_item_scale=scale)
    return make_retriever(config, prepared.dataset.schema, prepared.vocabularies, prepared.item_table).eval()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_only_what_training_has_not_seen_is_scaled(prepared: Prepared, config: RetrieverConfig) -> None:
    new = torch.from_numpy(prepared.item_counts == 0)
    assert 0 < new.sum() < len(new)
    plain, scaled = (encode_catalogue(made(prepared, config, scale), prepared.item_table) for scale in (1.0, 2.5))
    assert torch.equal(scaled[~new], plain[~new])
    torch.testing.assert_close(scaled[new], plain[new] * 2.5)
    unknown = dataclasses.replace(prepared.item_table, known=None)
    assert torch.equal(encode_catalogue(made(prepared, config, 2.5), unknown), plain)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_training_and_histories_do_not_know_of_it(prepared: Prepared, config: RetrieverConfig) -> None:
    rows = np.flatnonzero(prepared.validation_histories.lengths)[:9]
    users = prepared.user_features(rows, prepared.validation_histories.rows(rows))
    items = prepared.item_table.take(np.arange(len(prepared.items)))
    plain, scaled = made(prepared, config, 1.0), made(prepared, config, 3.0)
    assert torch.equal(plain.encode_items(items), scaled.encode_items(items))
    assert torch.equal(plain.encode_users(users), scaled.encode_users(users))


def test_the_larger_the_scale_the_more_new_items_are_in_lists(prepared: Prepared) -> None:
    evaluation, shares = Evaluation(prepared, "validation"), []
    for scale in (0.01, 1.0, 100.0):
        scores = ModelScores(made(prepared, CONFIGS["sequential"], scale), evaluation)
        ranking, _ = evaluation.rank(evaluation.users, scores.scorer(evaluation.users))
        shares.append(float((prepared.item_counts[ranking.rows[:, :10].numpy()] == 0).mean()))
    assert shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("kind", [TwoTowerConfig, SequentialConfig])
def test_a_scale_is_a_positive_number(kind: type, scale: float) -> None:
    with pytest.raises(InputError, match=r"model\.new_item_scale is a positive number"):
        kind(new_item_scale=scale)
