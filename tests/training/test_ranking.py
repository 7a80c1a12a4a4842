import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.errors import InputError
from features.labelled import LabelledExamples, LabelRule
from features.schema import Categorical
from features.splits import TEST, TRAIN, VALIDATION
from recsys.auc import roc_auc
from recsys.embeddings import EmbeddingPlan
from recsys.ranking import RankerConfig
from training.config import DataConfig, OptimiserConfig
from training.ranking import PartBatches, RankerTraining, RankingConfig, RankingData, TrainingBatches
from training.ranking_run import evaluate_ranker, fit_ranker, labelled_only, prepare_labelled, train_ranker


def examples(n: int = 3000) -> LabelledExamples:
    """Taken where user and item are of one kind, which neither of them says alone."""
    random = np.random.default_rng(0)
    users, items = random.integers(20, size=n), random.integers(30, size=n)
    taken = (users % 2 == items % 2) ^ (random.random(n) < 0.05)
    frame = pl.DataFrame({"user": users, "item": items, "taken": taken})
    parts = random.choice([TRAIN, VALIDATION, TEST], size=n, p=[0.8, 0.1, 0.1])
    return LabelledExamples.of_frame(frame, [Categorical("user"), Categorical("item")], LabelRule("taken"), parts)


def config(**changes) -> RankingConfig:
    plan = EmbeddingPlan(kind=changes.pop("kind", "multiplexed"), width=8, lookups=2)
    optimiser = {"lr": 2e-2, "max_epochs": 6, "validate_every": 1, "patience": 3, "backend": "torch"}
    optimiser = OptimiserConfig(**{**optimiser, **changes.pop("optimiser", {})})
    return RankingConfig(
        model=RankerConfig(hidden=(16,), embeddings=plan), optimiser=optimiser, batch_size=64, **changes
    )


def test_a_ranker_learns_what_user_and_item_only_say_together(tmp_path: Path) -> None:
    result = train_ranker(config(), examples(), tmp_path, progress=False)
    assert 0.9 < result.figures["auc"] <= 1
    assert result.figures["validation_auc"] > 0.9 and 1 <= result.figures["best_epoch"] <= 6
    assert result.figures["logloss"] < 0.4
    assert result.figures["parameters"] > result.figures["embedding_parameters"] > 0
    assert not result.model.training


def test_tables_may_be_sharded_with_a_fused_optimiser(tmp_path: Path) -> None:
    fused = {"tables": "rowwise-adagrad", "table_lr": 0.1, "max_epochs": 3}
    result = train_ranker(config(optimiser=fused), examples(), tmp_path, progress=False)
    assert result.figures["auc"] > 0.9


def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    data, settings = examples(1000), config(epochs_per_pass=2, embedding_decay=0.01)
    whole = fit_ranker(settings, data, tmp_path / "whole", epochs=3, progress=False)
    fit_ranker(settings, data, tmp_path / "parts", epochs=2, progress=False)
    resumed = fit_ranker(settings, data, tmp_path / "parts", epochs=3, resume=True, progress=False)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight)


def test_figures_are_those_of_the_model_that_comes_back(tmp_path: Path) -> None:
    data = examples()
    result = train_ranker(config(optimiser={"max_epochs": 3}), data, tmp_path, progress=False)
    for part, name in ((TEST, "auc"), (VALIDATION, "validation_auc")):
        batch = data.take(data.part(part))
        with torch.no_grad():
            expected = roc_auc(batch.labels.numpy(), result.model(batch.features).numpy())
        assert result.figures[name] == pytest.approx(expected, abs=1e-6)
    assert evaluate_ranker(result.model, data, TEST)["auc"] == result.figures["auc"]


@pytest.mark.parametrize("per_pass", [1, 3])
def test_a_pass_sees_every_training_example_once_in_an_order_of_seed_and_epoch(per_pass: int) -> None:
    data, settings = examples(1000), config(epochs_per_pass=per_pass)
    epoch = [0]
    batches = TrainingBatches(data, settings, lambda: epoch[0])

    def read(number: int) -> list[np.ndarray]:
        epoch[0] = number
        found = [batch.features.sparse["item"].values.numpy() for batch in batches]
        assert len(found) == len(batches) and max(map(len, found)) <= settings.batch_size
        return found

    passes = [
        np.concatenate([one for at in range(per_pass) for one in read(at + number * per_pass)]) for number in (0, 1)
    ]
    expected = data.take(data.part(TRAIN)).features.sparse["item"].values.numpy()
    for found in passes:
        assert len(found) == len(expected) and (np.sort(found) == np.sort(expected)).all()
    assert (passes[0] != passes[1]).any()
    again = TrainingBatches(data, settings, lambda: per_pass)  # asked for a later epoch first, as a resumed run does
    epoch[0] = per_pass
    for one, other in zip(again, batches, strict=True):
        assert torch.equal(one.features.sparse["user"].values, other.features.sparse["user"].values)
    other_seed = TrainingBatches(data, dataclasses.replace(settings, seed=1), lambda: 0)
    assert any(
        not torch.equal(one.labels, other.labels)
        for one, other in zip(other_seed, TrainingBatches(data, settings, lambda: 0), strict=False)
    )


def test_a_part_is_read_in_order_without_a_rest() -> None:
    data = examples(500)
    batches = PartBatches(data, TEST, batch_size=7)
    labels = torch.cat([batch.labels for batch in batches])
    assert labels.tolist() == data.labels[data.part(TEST)].tolist() and len(batches) == -(-len(labels) // 7)


def test_validation_is_one_curve_over_the_whole_part() -> None:
    data = examples(2000)
    module = RankerTraining(config(), data).eval()
    logged = {}
    module.log = lambda name, value: logged.update({name: value})
    module.on_validation_epoch_start()
    with torch.no_grad():
        for batch in PartBatches(data, VALIDATION, batch_size=16):
            module.validation_step(batch, 0)
    module.on_validation_epoch_end()
    assert logged["validation/auc"] == evaluate_ranker(module.model, data, VALIDATION)["auc"]


def test_embedding_decay_shortens_what_is_looked_up_and_nothing_else() -> None:
    data = examples(200)
    batch = data.take(data.part(TRAIN)[:2])
    gradients = []
    for decay in (0.0, 0.5):
        torch.manual_seed(0)
        module = RankerTraining(config(kind="collisionless", embedding_decay=decay), data).eval()
        module.training_step(batch, 0).backward()
        tables = module.model.embeddings.tables
        gradients.append({name: weight.grad for name, weight in tables.named_parameters()})
        weights = dict(tables.named_parameters())
    for name, weight in weights.items():
        used = torch.zeros(len(weight))
        feature = name.removesuffix(".weight").rsplit(".", 1)[-1]
        used.index_add_(0, batch.features.sparse[feature].values, torch.full((2,), 0.5))  # share of the batch's rows
        torch.testing.assert_close(gradients[1][name] - gradients[0][name], 2 * 0.5 * weight * used[:, None])


def test_a_ranker_of_interactions_learns_from_drawn_negatives(tmp_path: Path) -> None:
    data = DataConfig("generated", settings={"interactions": 1500})
    settings = config(data=data, labels=LabelRule(negatives=2), optimiser={"max_epochs": 3})
    result = train_ranker(settings, None, tmp_path, progress=False)
    assert result.figures["auc"] > 0.6 and len(result.figures["split_hash"]) == 64
    assert result.figures["examples"] == 4500


def test_interactions_in_the_middle_are_left_out_before_the_split() -> None:
    settings = config(data=DataConfig("generated", settings={"interactions": 1000}))
    dataset = prepare_labelled(settings).dataset
    rated = dataclasses.replace(
        dataset, interactions=dataset.interactions.with_columns(stars=pl.int_range(pl.len()) % 5 + 1)
    )
    kept = labelled_only(rated, LabelRule("stars", at_least=4, at_most=2))
    assert sorted(kept.interactions["stars"].unique()) == [1, 2, 4, 5]
    with pytest.raises(InputError, match="no interaction has a 'stars' of at least 9 or at most 0"):
        labelled_only(rated, LabelRule("stars", at_least=9))


def test_parts_without_both_labels_are_refused(tmp_path: Path) -> None:
    data = examples(300)
    labels = np.where(data.parts == VALIDATION, np.float32(1), data.labels)
    with pytest.raises(InputError, match=r"the validation part has .* no negative one"):
        train_ranker(config(), dataclasses.replace(data, labels=labels), tmp_path, progress=False)


def test_settings_are_checked_when_made() -> None:
    for wrong in ({"epochs_per_pass": 0}, {"embedding_decay": -1.0}, {"seed": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            config(**wrong)
    assert isinstance(RankingData(examples(100), config()).val_dataloader(), PartBatches)
