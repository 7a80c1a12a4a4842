"""Fitting: the model learns, the best epoch is kept, and a killed run resumes to the same end."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from features.errors import InputError
from features.prepared import Prepared
from features.splits import TEST
from training.config import TrainConfig, load_config
from training.data import prepare
from training.evaluation import Evaluation, ModelScores, evaluate, evaluate_baselines
from training.two_tower_fit import fit

ROOT = Path(__file__).parents[2]
FAST = (
    "model.dim=32",
    "model.embeddings.width=32",
    "optimiser.max_epochs=8",
    "optimiser.lr=0.01",
    "examples.batch_size=64",
)
SMALL = ("model.dim=16", "model.embeddings.width=16", "examples.batch_size=64")


def _validation(model, prepared: Prepared) -> dict[str, float]:
    evaluation = Evaluation(prepared, "validation")
    return evaluate(evaluation, ModelScores(model, evaluation).scorer)


def test_fitting_learns_and_keeps_the_best_epoch(small_config, small_prepared, tmp_path) -> None:
    seen = []
    fitted = fit(small_config, small_prepared, tmp_path, report=lambda figures, epoch: seen.append((epoch, figures)))
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4]
    assert seen[-1][1]["train/loss"] < seen[0][1]["train/loss"]
    best = max(figures["validation/ndcg@10"] for _, figures in seen)
    assert fitted.validation == pytest.approx(best)
    assert _validation(fitted.model, small_prepared)["ndcg@10"] == pytest.approx(best, abs=1e-6)


def test_a_model_learns_the_planted_interests(tmp_path) -> None:
    config = load_config(settings=["data.settings.interactions=8000", *FAST])
    prepared = prepare(config)
    fitted = fit(config, prepared, tmp_path)
    popularity = evaluate_baselines(prepared, "validation")["popularity"]
    assert fitted.validation > 1.4 * popularity["ndcg@10"]


@pytest.mark.parametrize("loss", ["in-batch", "mixed"])
def test_sampled_losses_train_too(small_prepared, tmp_path, loss: str) -> None:
    settings = ["examples.unit=interactions", "examples.batch_size=256", "optimiser.lr=0.01", f"loss.name={loss}"]
    config = load_config(settings=[*settings, "model.dim=16", "model.embeddings.width=16", "optimiser.max_epochs=2"])
    losses = []
    fit(config, small_prepared, tmp_path, report=lambda figures, _: losses.append(figures["train/loss"]))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_refitting_runs_the_asked_epochs_without_validation(small_config, small_prepared, tmp_path) -> None:
    seen = []
    fitted = fit(small_config, small_prepared, tmp_path, epochs=2, report=lambda figures, _: seen.append(figures))
    assert len(seen) == 2 and fitted.best_epoch == 2
    assert not any("validation/ndcg@10" in figures for figures in seen)


def test_the_same_seed_gives_the_same_model(small_config, small_prepared, tmp_path) -> None:
    one = fit(small_config, small_prepared, tmp_path / "a").model.state_dict()
    other = fit(small_config, small_prepared, tmp_path / "b").model.state_dict()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name])


def test_cold_items_are_not_scored_down_before_anybody_has_seen_them(tmp_path) -> None:
    settings = ["data.settings.interactions=8000", "split.name=cold-items", "split.settings.test=0.1", *FAST]
    config = load_config(settings=settings)
    prepared = prepare(config)
    fitted = fit(config, prepared, tmp_path)
    evaluation = Evaluation(prepared, "test")
    figures = evaluate(evaluation, ModelScores(fitted.model, evaluation).scorer)
    targets = len(np.unique(prepared.test.values))
    assert figures["cold/queries"] == figures["queries"]  # all of them are of withheld items
    chance = 50 / len(prepared.items)
    assert figures["hr@50"] > 2 * chance, f"{targets} withheld items"


def test_a_run_that_stopped_early_stays_stopped_when_resumed(small_prepared, tmp_path) -> None:
    settings = ["optimiser.patience=1", "optimiser.lr=0.5", "optimiser.max_epochs=30", "optimiser.validate_every=1"]
    config = load_config(settings=[*SMALL, *settings])
    epochs = []
    first = fit(config, small_prepared, tmp_path, report=lambda _, epoch: epochs.append(epoch))
    assert len(epochs) < 30
    more = []
    second = fit(config, small_prepared, tmp_path, resume=True, report=lambda _, epoch: more.append(epoch))
    assert not more
    assert (second.best_epoch, second.validation) == (first.best_epoch, first.validation)
    for name, weight in first.model.state_dict().items():
        torch.testing.assert_close(weight, second.model.state_dict()[name], rtol=0, atol=0)


def test_a_run_that_ended_ends_as_it_did_when_resumed(small_prepared, tmp_path) -> None:
    config = load_config(settings=[*SMALL, "optimiser.max_epochs=1"])
    ended = fit(config, small_prepared, tmp_path)
    again = fit(config, small_prepared, tmp_path, resume=True)
    assert (again.best_epoch, again.validation) == (ended.best_epoch, ended.validation) == (1, ended.validation)
    for name, weight in ended.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


def test_an_interruption_is_one_and_the_next_one_is_heard(small_config, small_prepared, tmp_path) -> None:
    heard = signal.getsignal(signal.SIGINT)

    def interrupted(figures: dict[str, float], epoch: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(small_config, small_prepared, tmp_path, report=interrupted)
    assert signal.getsignal(signal.SIGINT) is heard


def test_a_damaged_checkpoint_is_named(small_config, small_prepared, tmp_path) -> None:
    fit(small_config, small_prepared, tmp_path, epochs=1)
    checkpoint = tmp_path / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"last\.ckpt is damaged"):
        fit(small_config, small_prepared, tmp_path, resume=True)


def test_nothing_to_train_on_is_told(small_config: TrainConfig, small_prepared: Prepared, tmp_path: Path) -> None:
    split = dataclasses.replace(small_prepared.split, parts=np.full_like(small_prepared.split.parts, TEST))
    with pytest.raises(InputError, match="no training interaction"):
        fit(small_config, dataclasses.replace(small_prepared, split=split), tmp_path)


def test_a_killed_run_resumes_to_the_same_figures(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "training.cli", "train", "two-tower", "--no-mlflow"]
    for setting in (
        "data.settings.interactions=3000",
        "model.dim=16",
        "optimiser.max_epochs=30",
        "optimiser.patience=30",
    ):
        arguments += ["--set", setting]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # two runs on two cores

    def train(folder: str, *more: str) -> subprocess.Popen:
        command = [*arguments, "--run-dir", str(tmp_path / folder), "--json", *more]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    killed = train("killed")
    checkpoint = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert checkpoint.exists()
    assert not (tmp_path / "killed" / "result.json").exists(), "it was over before it could be killed"
    figures = []
    for run in (train("killed", "--resume"), train("undisturbed")):
        out, _ = run.communicate(timeout=170)
        assert run.returncode == 0
        figures.append(json.loads(out.decode().splitlines()[-1]))
    resumed, undisturbed = figures
    for name in ("hr@10", "ndcg@10", "validation_ndcg@10", "best_epoch"):
        assert resumed[name] == pytest.approx(undisturbed[name], abs=1e-6)
