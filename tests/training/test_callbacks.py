"""A running mean of the weights: what is validated, kept and gone on with."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from training.callbacks import AverageWeights
from training.fit import fit_module
from training.optimisers import OptimiserConfig, configure

STEPS, EPOCHS = 6, 4


class Killed(Exception):
    """What a kill would do."""


class Walk(pl.LightningModule):
    """Weights that walk where nobody needs to go; notes where they were after each step, and where they were judged."""

    def __init__(self, settings: OptimiserConfig) -> None:
        super().__init__()
        self.settings, self.walked, self.judged = settings, [], []
        self.model = nn.Linear(3, 1, bias=False)
        nn.init.ones_(self.model.weight)

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        loss = self.model(batch).mean()
        self.log("train/loss", loss)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        self.walked.append(self.model.weight.detach().clone())

    def validation_step(self, *_: Any) -> None:
        self.judged.append(self.model.weight.detach().clone())
        self.log("validation/far", self.model.weight.abs().sum(), batch_size=1)

    def configure_optimizers(self) -> Any:
        return configure(self, self.settings)


class Steps(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return DataLoader(torch.eye(3).repeat(STEPS // 3, 1), batch_size=1)

    def val_dataloader(self) -> DataLoader:
        return DataLoader([0], batch_size=None)


def fitted(folder: Path, steps: float, **options: Any) -> tuple[Walk, Any]:
    settings = OptimiserConfig(lr=0.1, max_epochs=EPOCHS, validate_every=1)
    walk = Walk(settings)
    mean = AverageWeights(steps)
    options = {"monitor": "validation/far", "progress": False, **options}
    return walk, fit_module(walk, Steps(), settings, folder, callbacks=[mean], **options)


def expected(walked: list[torch.Tensor], steps: float) -> list[torch.Tensor]:
    """The mean after each step, by hand."""
    means = [walked[0]]
    for n, one in enumerate(walked[1:], 1):
        kept = min(1 - 1 / steps, (1 + n) / (10 + n))
        means.append(kept * means[-1] + (1 - kept) * one)
    return means


def test_the_mean_is_judged_and_kept_and_training_goes_on_from_the_last_weights(tmp_path: Path) -> None:
    walk, outcome = fitted(tmp_path, steps=4.0)
    assert len(walk.walked) == STEPS * EPOCHS
    means = expected(walk.walked, 4.0)[STEPS - 1 :: STEPS]
    for judged, mean in zip(walk.judged, means, strict=True):
        torch.testing.assert_close(judged, mean)
    torch.testing.assert_close(outcome.weights["weight"], means[outcome.best_epoch - 1])
    alone = Walk(walk.settings)
    fit_module(alone, Steps(), walk.settings, tmp_path / "alone", monitor="validation/far", progress=False)
    torch.testing.assert_close(walk.walked, alone.walked)


def test_over_many_steps_not_every_one_is_looked_at() -> None:
    looked = [n for n in range(400) if AverageWeights(400.0).should_update(step_idx=n)]
    assert looked == list(range(0, 400, 8)) and not AverageWeights(400.0).should_update(epoch_idx=1)


def test_a_mean_over_less_than_a_step_is_the_weights(tmp_path: Path) -> None:
    walk, _ = fitted(tmp_path, steps=0.5)
    torch.testing.assert_close(walk.judged, walk.walked[STEPS - 1 :: STEPS])


def test_a_run_that_was_stopped_goes_on_with_both(tmp_path: Path) -> None:
    whole, _ = fitted(tmp_path / "whole", steps=4.0)

    def stop(figures: dict[str, float], epoch: int) -> None:
        if epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        fitted(tmp_path / "stopped", steps=4.0, report=stop)
    again, outcome = fitted(tmp_path / "stopped", steps=4.0, resume=True)
    assert 0 < len(again.judged) < EPOCHS
    torch.testing.assert_close(again.judged, whole.judged[-len(again.judged) :])
    assert outcome.best_epoch >= 1
