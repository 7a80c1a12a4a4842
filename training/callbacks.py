"""What a fit does beside training: stops early, hands metrics on, shows a bar."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, WeightAveraging
from tqdm import tqdm

#: steps of those that a mean of weights goes over which are looked at, at the most: each costs a pass over all weights
_MEASURED = 50


class StopEarly(EarlyStopping):
    """Early stopping that a resumed run remembers: one that had stopped does not train on."""

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Stops a run that had stopped."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class ClipGradients(Callback):
    """Scales the gradient down to a norm, as Lightning's own clipping does, which refuses fused AdamW in bfloat16.

    Args:
        norm: The largest.
    """

    def __init__(self, norm: float) -> None:
        self._norm = norm

    def on_before_optimizer_step(self, _: pl.Trainer, module: pl.LightningModule, __: torch.optim.Optimizer) -> None:
        """Scales what has a gradient."""
        torch.nn.utils.clip_grad_norm_(module.parameters(), self._norm)


class AverageWeights(WeightAveraging):
    """Validates, keeps and gives not the last weights but their running mean, which differs less between two epochs.

    Of weights of long ago the mean forgets faster at the beginning, when these are worst (Polyak and Juditsky, 1992;
    as an exponential mean: Tarvainen and Valpola, arXiv 1703.01780).

    Args:
        steps: Over how many the mean goes.
    """

    def __init__(self, steps: float) -> None:
        self._every = max(1, int(steps / _MEASURED))
        most = max(0.0, 1 - self._every / steps)

        def average(means: Any, weights: Any, done: Any) -> None:
            kept = min(most, (1 + int(done)) / (10 + int(done)))
            torch._foreach_lerp_(means, weights, 1 - kept)

        super().__init__(use_buffers=False, multi_avg_fn=average)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Whether this step counts."""
        return step_idx is not None and step_idx % self._every == 0


class Reporter(Callback):
    """Hands each epoch's metrics on, from one process.

    Args:
        report: Called with an epoch's metrics and its number, from 1.
    """

    def __init__(self, report: Callable[[dict[str, float], int], None]) -> None:
        self._report = report

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Reports the epoch."""
        epoch = trainer.current_epoch + 1
        assert trainer.check_val_every_n_epoch is not None  # `training.fit` counts in epochs
        validated = epoch % trainer.check_val_every_n_epoch == 0  # else Lightning still holds an earlier epoch's
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if trainer.is_global_zero:
            self._report(
                {name: one for name, one in figures.items() if validated or not name.startswith("validation/")}, epoch
            )


class Progress(Callback):
    """One bar over all epochs, on standard error: standard output belongs to the figures.

    Args:
        monitor: The metric that is shown beside the loss.
    """

    def __init__(self, monitor: str | None) -> None:
        self._monitor = monitor

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Opens the bar."""
        batches = int(trainer.num_training_batches)
        assert trainer.max_epochs is not None
        self._bar = tqdm(
            desc="training",
            unit="batch",
            total=trainer.max_epochs * batches,
            initial=trainer.current_epoch * batches,
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def on_train_batch_end(self, *_: object) -> None:
        """One batch on."""
        self._bar.update()

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Shows the epoch's figures."""
        metrics = trainer.callback_metrics
        shown = {"loss": f"{float(metrics['train/loss']):.3f}"}
        if self._monitor in metrics:
            shown[self._monitor.rpartition("/")[2]] = f"{float(metrics[self._monitor]):.4f}"
        self._bar.set_postfix({"epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}", **shown})

    def teardown(self, trainer: pl.Trainer, _: pl.LightningModule, stage: str) -> None:
        """Closes the bar."""
        if hasattr(self, "_bar"):  # training may have failed before it began
            self._bar.close()
