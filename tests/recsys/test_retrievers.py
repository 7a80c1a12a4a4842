"""Histories encoded some at a time: the same vectors, bounded parts, and as many look-ups as others need."""

import dataclasses

import numpy as np
import pytest
import torch

from features.batches import FeatureBatch, Jagged
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, Sequence
from features.sources import load
from features.splits import leave_one_out
from recsys import retrievers
from recsys.retrievers import encode_histories, make_retriever
from recsys.sequential import SequentialConfig
from recsys.two_tower import TwoTowerConfig


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    dataset = load("generated", interactions=1000)
    schema = FeatureSchema(user=(Sequence("history", timed=True),), item=(Id("item_id"),))
    return Prepared.of(dataclasses.replace(dataset, schema=schema), leave_one_out(dataset))


def made(prepared: Prepared, config: SequentialConfig | TwoTowerConfig) -> torch.nn.Module:
    """A model that keeps the look-ups it makes and the users it is asked for."""
    torch.manual_seed(0)
    model = make_retriever(config, prepared.dataset.schema, prepared.vocabularies, prepared.item_table).eval()
    model.looked_up, model.asked, encode = [], [], model.encode_users
    model.embeddings.register_forward_hook(lambda *_: model.looked_up.append(1))
    model.encode_users = lambda users: (model.asked.append(users), encode(users))[1]
    return model


def users_of(lengths: list[int]) -> FeatureBatch:
    random = torch.Generator().manual_seed(0)
    n = sum(lengths)
    history = Jagged(
        torch.randint(40, (n,), generator=random), torch.tensor(lengths, dtype=torch.int64), torch.arange(n) * 1000
    )
    return FeatureBatch({"history": history}, size=len(lengths), asked_at=torch.arange(len(lengths)) * 100_000 + n)


@pytest.mark.parametrize("times", ["none", "request"])
def test_parts_have_the_vectors_of_the_whole_and_an_end(monkeypatch, prepared: Prepared, times: str) -> None:
    model = made(prepared, SequentialConfig(backbone="hstu", dim=8, max_length=20, times=times))
    lengths = [0, 30, 3, 0, 20, 20, 1, 7, 0, 45, 0]
    whole = encode_histories(model, users_of(lengths))
    assert len(model.asked) == 1
    most = 2 * 20 * (20 * model.config.heads + 512)  # of two of the longest that the model reads
    monkeypatch.setattr(retrievers, "_MOST", most)
    parts = encode_histories(model, users_of(lengths))
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    asked = [one.sparse["history"].lengths.clamp(max=20).numpy() for one in model.asked[1:]]
    assert [n for one in asked for n in one] == [min(n, 20) for n in lengths] and len(asked) > 2
    assert all(np.sum(one * (one * model.config.heads + 512)) <= 1.5 * most for one in asked)


def test_who_has_fewer_parts_looks_up_as_often_as_the_others(monkeypatch, prepared: Prepared) -> None:
    model = made(prepared, SequentialConfig(dim=8, max_length=20))
    monkeypatch.setattr(retrievers, "_MOST", 20_000)
    for lengths, own in (([20, 20, 20], 2), ([3], 1), ([0, 0], 1), ([], 1)):
        model.looked_up.clear()
        vectors = encode_histories(model, users_of(lengths), agreed=lambda n, own=own: (n == own) * 5)
        assert vectors.shape == (len(lengths), 8)
        assert len(model.looked_up) == 5
        assert (vectors != 0).any(dim=1).tolist() == [n > 0 for n in lengths]


def test_what_sums_histories_up_encodes_them_at_once(monkeypatch, prepared: Prepared) -> None:
    model = made(prepared, TwoTowerConfig(dim=8))
    monkeypatch.setattr(retrievers, "_MOST", 1)
    some = np.arange(10)
    users = prepared.user_features(some, prepared.test_histories.rows(some))
    assert encode_histories(model, users).shape == (10, model.dim)
    assert len(model.asked) == 1
