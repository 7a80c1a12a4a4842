"""Training examples: what is a target, what is history, and that an epoch depends on seed and epoch alone."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.schema import FeatureSchema, Sequence
from features.splits import random_ratio
from training.config import ExamplesConfig
from training.examples import TrainingExamples


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    random = np.random.default_rng(1)
    users, items = random.integers(0, 40, 900), random.integers(0, 70, 900)
    pairs = pl.DataFrame({"user_id": users, "item_id": items}).unique(maintain_order=True)
    dataset = Dataset.construct("toy", pairs.with_columns(timestamp=pl.int_range(pl.len())))
    return Prepared.of(dataset, random_ratio(dataset))


def _epoch(prepared: Prepared, epoch: int = 0, seed: int = 0, **settings) -> list:
    return list(TrainingExamples(prepared, ExamplesConfig(**{"batch_size": 16, **settings}), seed, lambda: epoch))


def _rows(jagged) -> list[list[int]]:
    return [one.tolist() for one in torch.split(jagged.values, jagged.lengths.tolist())]


@pytest.mark.parametrize("unit", ["users", "interactions"])
def test_targets_and_others_are_the_training_items_and_nothing_leaks(prepared: Prepared, unit: str) -> None:
    for batch in _epoch(prepared, unit=unit, target_share=0.3):
        history = batch.users.sparse["history"]
        rows = zip(batch.user_rows.tolist(), _rows(batch.targets), _rows(batch.others), _rows(history), strict=True)
        for user, targets, others, known in rows:
            assert sorted(targets + others) == sorted(prepared.train.row(user).tolist())
            assert not set(targets) & set(others)  # each item occurs once a user here
            assert known == others
            assert unit == "users" or len(targets) == 1


def test_an_epoch_holds_each_user_or_interaction_once(prepared: Prepared) -> None:
    users = torch.cat([batch.user_rows for batch in _epoch(prepared)])
    assert sorted(users.tolist()) == np.flatnonzero(prepared.train.lengths).tolist()
    batches = _epoch(prepared, unit="interactions")
    users, items = (
        torch.cat(parts).tolist() for parts in zip(*[(b.user_rows, b.targets.values) for b in batches], strict=True)
    )
    found = sorted(zip(users, items, strict=True))
    train = prepared.train
    assert found == sorted((user, item) for user in range(len(train)) for item in train.row(user).tolist())


def test_an_epoch_is_told_by_its_seed_and_number(prepared: Prepared) -> None:
    def values(**which):
        return torch.cat([batch.targets.values for batch in _epoch(prepared, **which)]).tolist()

    assert values(epoch=3) == values(epoch=3)
    assert values(epoch=3) != values(epoch=4)
    assert values(seed=1) != values(seed=2)


def test_the_share_of_targets_is_the_declared_one(prepared: Prepared) -> None:
    batches = [batch for epoch in range(10) for batch in _epoch(prepared, epoch, target_share=0.3)]
    targets = sum(batch.targets.values.numel() for batch in batches)
    assert 0.27 < targets / (10 * len(prepared.train.values)) < 0.33


def test_histories_are_shortened_and_thinned_but_others_stay_whole(prepared: Prepared) -> None:
    for batch in _epoch(prepared, max_history=4):
        assert batch.users.sparse["history"].lengths.max() <= 4
        assert batch.others.lengths.max() > 4
    thinned = _epoch(prepared, history_dropout=0.5)
    kept = sum(batch.users.sparse["history"].values.numel() for batch in thinned)
    assert 0.4 < kept / sum(batch.others.values.numel() for batch in thinned) < 0.6


def test_a_small_data_set_still_has_steps_to_learn_from(prepared: Prepared) -> None:
    assert len(_epoch(prepared, batch_size=0)) == 3  # 40 users, 16 at a time
    interactions = TrainingExamples(prepared, ExamplesConfig(unit="interactions"), 0, lambda: 0)
    assert interactions.batch_size == len(prepared.train.values) // 20 and len(interactions) >= 20


@pytest.mark.parametrize("unit", ["users", "interactions"])
def test_an_item_met_twice_is_no_hint_at_itself(unit: str) -> None:
    log = pl.DataFrame({"user_id": [1] * 12 + [2] * 8, "item_id": [1, 2, 3, 4] * 5}).with_columns(
        timestamp=pl.int_range(pl.len())
    )
    dataset = Dataset.construct("again", log)
    for epoch in range(5):
        for batch in _epoch(Prepared.of(dataset, random_ratio(dataset)), epoch, unit=unit):
            for targets, others in zip(_rows(batch.targets), _rows(batch.others), strict=True):
                assert not set(targets) & set(others)


def test_a_declared_length_keeps_the_end_of_each_history(prepared: Prepared) -> None:
    schema = FeatureSchema(user=(Sequence("history", max_length=3),))
    short = dataclasses.replace(prepared, dataset=dataclasses.replace(prepared.dataset, schema=schema))
    for batch in _epoch(short):
        for others, history in zip(_rows(batch.others), _rows(batch.users.sparse["history"]), strict=True):
            assert history == others[-3:]


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"unit": "sessions"}, "unit"),
        ({"batch_size": -1}, "batch_size"),
        ({"target_share": 0}, "target_share"),
        ({"max_history": -1}, "max_history"),
    ],
)
def test_wrong_settings_are_named(setting: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        ExamplesConfig(**setting)
