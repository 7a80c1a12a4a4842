"""ComiRec, fitted: it learns what popularity does not know, and says what it cannot be fitted on."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, Sequence
from features.splits import random_ratio
from recsys.baselines import Popularity
from training.comirec import ComiRecConfig, ComiRecTrainConfig, InterestScores, fit
from training.config import ExamplesConfig
from training.evaluation import Evaluation, evaluate
from training.optimisers import OptimiserConfig


def two_tastes() -> Prepared:
    """Each of 120 users takes items of two of six groups of ten."""
    random = np.random.default_rng(0)
    pairs = []
    for user in range(120):
        for group in random.choice(6, 2, replace=False):
            pairs += [(user, int(10 * group + item)) for item in random.choice(10, 7, replace=False)]
    users, items = zip(*pairs, strict=True)
    log = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": range(len(pairs))})
    schema = FeatureSchema(user=(Sequence("history"),), item=(Id("item_id"),))
    dataset = Dataset.construct("two-tastes", log, schema=schema)
    return Prepared.of(dataset, random_ratio(dataset, 0.6, 0.2, of="users"))


CONFIG = ComiRecTrainConfig(
    model=ComiRecConfig(dim=16, interests=2),
    examples=ExamplesConfig(batch_size=30),
    optimiser=OptimiserConfig(lr=0.02, max_epochs=16, validate_every=4),
)


def test_it_finds_several_tastes_and_the_same_again(tmp_path: Path) -> None:
    data = two_tastes()
    fitted, again = (fit(CONFIG, data, tmp_path / name, progress=False) for name in ("one", "two"))
    assert torch.equal(fitted.model.items.weight, again.model.items.weight)
    evaluation = Evaluation(data)
    found = evaluate(evaluation, InterestScores(fitted.model, evaluation.histories).scorer)
    popular = Popularity().fit(data.train, len(data.items))
    plain = evaluate(evaluation, lambda users: popular.scorer(evaluation.histories.rows(users)))
    # of the 60 items 12 are of the two tastes and not known to the user; chance finds one in six of them
    assert found["recall@10"] > 2 * plain["recall@10"]


def test_what_it_cannot_be_fitted_on_is_told(tmp_path: Path) -> None:
    data = two_tastes()
    dataset = dataclasses.replace(data.dataset, schema=FeatureSchema(user=(Id("user_id"),), item=(Id("item_id"),)))
    with pytest.raises(InputError, match="the users declare none"):
        fit(CONFIG, Prepared.of(dataset, data.split), tmp_path)
    with pytest.raises(InputError, match="has no validation interaction"):
        fit(CONFIG, Prepared.of(data.dataset, random_ratio(data.dataset, 0.9, 0.0)), tmp_path)
