"""Fitting with Lightning: progress, early stopping, checkpoints that a killed run resumes from."""

from __future__ import annotations

import logging
import pickle
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from tqdm import tqdm

from features.errors import InputError
from features.prepared import Prepared
from recsys.losses import make_loss
from recsys.two_tower import TwoTower
from training.config import TrainConfig
from training.examples import TwoTowerData
from training.two_tower import TwoTowerTraining

MONITOR = "validation/ndcg@10"


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Args:
        model: With the weights of the best epoch, for plain torch, in evaluation mode.
        best_epoch: Counted from 1.
        validation: The best epoch's validation NDCG@10; NaN where there was no validation.
    """

    model: TwoTower
    best_epoch: int
    validation: float


class _EarlyStopping(EarlyStopping):
    """Early stopping that a resumed run remembers: one that had stopped does not train on."""

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class _AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one it replaces, then renames: a kill leaves the old one or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        part = Path(f"{path}.part")
        super().save_checkpoint(checkpoint, part, storage_options)
        part.replace(path)


class _Reporter(Callback):
    """Hands each epoch's metrics on."""

    def __init__(self, report: Callable[[dict[str, float], int], None]) -> None:
        self._report = report

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        validated = epoch % trainer.check_val_every_n_epoch == 0  # else Lightning still holds an earlier epoch's
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._report(
            {name: one for name, one in figures.items() if validated or not name.startswith("validation/")}, epoch
        )


class _Progress(Callback):
    """One bar over all epochs, on standard error: standard output belongs to the figures."""

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        batches = int(trainer.num_training_batches)
        self._bar = tqdm(
            desc="training",
            unit="batch",
            total=trainer.max_epochs * batches,
            initial=trainer.current_epoch * batches,
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def on_train_batch_end(self, *_: object) -> None:
        self._bar.update()

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        shown = {"loss": f"{float(metrics['train/loss']):.3f}"}
        if MONITOR in metrics:
            shown["NDCG@10"] = f"{float(metrics[MONITOR]):.4f}"
        self._bar.set_postfix({"epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}", **shown})

    def teardown(self, trainer: pl.Trainer, _: pl.LightningModule, stage: str) -> None:
        if hasattr(self, "_bar"):  # training may have failed before it began
            self._bar.close()


def fit(
    config: TrainConfig,
    prepared: Prepared,
    folder: Path,
    *,
    resume: bool = False,
    epochs: int | None = None,
    report: Callable[[dict[str, float], int], None] = lambda figures, epoch: None,
    progress: bool = True,
) -> Fitted:
    """Fits a two-tower model.

    Args:
        config: The run's configuration.
        prepared: The data.
        folder: Where checkpoints go: "last.ckpt" after each epoch, and the best one.
        resume: Go on from "last.ckpt" where there is one. The result is that of an undisturbed run.
        epochs: Fit exactly so many epochs and validate nothing: how a model is refitted on all data.
        report: Called after each epoch with its metrics and its number, from 1.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        InputError: Nothing to train on, or nothing to validate on.
    """
    validate = epochs is None
    check_usable(config, prepared, validate)
    folder.mkdir(parents=True, exist_ok=True)
    settings = config.optimiser
    torch.manual_seed(config.seed)
    module = TwoTowerTraining(config, prepared)
    last = ModelCheckpoint(
        dirpath=folder, filename="last", save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks: list[Callback] = [_Reporter(report), last]
    best = None
    if validate:
        best = ModelCheckpoint(
            dirpath=folder,
            filename="best-{epoch}",
            monitor=MONITOR,
            mode="max",
            save_weights_only=True,
            auto_insert_metric_name=False,
        )
        callbacks += [
            best,
            _EarlyStopping(MONITOR, mode="max", patience=max(1, settings.patience // settings.validate_every)),
        ]
    if progress and sys.stderr.isatty():
        callbacks.append(_Progress())
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=epochs or settings.max_epochs,
            accelerator="auto",
            devices=1,
            precision=settings.precision,
            gradient_clip_val=settings.gradient_clip or None,
            check_val_every_n_epoch=min(settings.validate_every, epochs or settings.max_epochs),
            limit_val_batches=None if validate else 0,
            num_sanity_val_steps=0,
            logger=False,
            callbacks=callbacks,
            plugins=[_AtomicCheckpoints()],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        checkpoint = folder / "last.ckpt"
        resumed = checkpoint if resume and checkpoint.exists() else None
        if resumed is not None:
            _check_readable(resumed)
        data = TwoTowerData(prepared, config.examples, config.seed)
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    weights = module.model.state_dict()
    best_epoch, figure = trainer.current_epoch, float("nan")
    if best is not None:
        found = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        best_epoch, figure = int(found["epoch"]) + 1, float(best.best_model_score)
        weights = {
            key.removeprefix("model."): one for key, one in found["state_dict"].items() if key.startswith("model.")
        }
    model = TwoTower(config.model, prepared.dataset.schema, prepared.vocabularies)
    model.load_state_dict(weights)
    return Fitted(model.eval(), best_epoch, figure)


def _check_readable(checkpoint: Path) -> None:
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise InputError(f"the checkpoint {checkpoint} is damaged, so the run cannot be resumed") from error


def check_usable(config: TrainConfig, prepared: Prepared, validate: bool = True) -> None:
    """Finds out, before anything is written, what fitting would stumble over.

    Raises:
        InputError: Nothing to train on or to validate on, or a loss or a model that cannot be made.
    """
    for part, there in (("training", prepared.train), ("validation", prepared.validation)):
        if not len(there.values) and (validate or part == "training"):
            raise InputError(f"the data set {prepared.dataset.name!r} has no {part} interaction under this split")
    make_loss(config.loss.name, **config.loss.settings)
    with torch.device("meta"):  # takes neither time nor memory
        TwoTower(config.model, prepared.dataset.schema, prepared.vocabularies)


class _quiet(warnings.catch_warnings):
    """Keeps Lightning's hints about data loaders and hardware, which a user cannot act on, off the screen."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", module="lightning_fabric")
        # and torch's, about the way in which TorchRec asks whether it is being traced
        for name in ("pytorch_lightning", "lightning.pytorch", "torch.fx._symbolic_trace"):
            logging.getLogger(name).setLevel(logging.ERROR)
