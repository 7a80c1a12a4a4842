"""Fitting any module with Lightning, on one process or many: early stopping, and checkpoints to resume from."""

from __future__ import annotations

import logging
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, WeightAveraging
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from features.errors import InputError
from training import processes, sharded_checkpoints
from training.callbacks import ClipGradients, Progress, Reporter, StopEarly
from training.interruption import interruptible
from training.optimisers import OptimiserConfig, TableOptimiser


@dataclass(frozen=True)
class Outcome:
    """What a fit came to.

    Args:
        weights: Of the module's `model` in the best epoch, whole, on the CPU; none on processes other than the first.
        best_epoch: Counted from 1.
        value: The best epoch's validation figure; NaN where there was no validation.
    """

    weights: dict[str, Tensor]
    best_epoch: int
    value: float

    def of(self, plain: M) -> Fitted[M]:
        """Puts the weights into a model for plain torch, which may have no memory yet."""
        if processes.rank():
            return Fitted(None, self.best_epoch, self.value)
        plain.load_state_dict(self.weights, assign=True)
        return Fitted(plain.eval(), self.best_epoch, self.value)


class _AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one it replaces, then renames: a kill leaves the old one or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        part = Path(f"{path}.part")
        super().save_checkpoint(checkpoint, part, storage_options)
        part.replace(path)


M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Fitted(Generic[M]):
    """A fitted model.

    Args:
        model: With the weights of the best epoch, for plain torch, in evaluation mode; None on processes other than
            the first.
        best_epoch: Counted from 1.
        validation: The best epoch's validation figure; NaN where there was no validation.
    """

    model: M | None
    best_epoch: int
    validation: float


def fit_module(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    settings: OptimiserConfig,
    folder: Path,
    *,
    tables: TableOptimiser = "adamw",
    monitor: str | None,
    batch_size: int = 512,
    seed: int = 0,
    initial: Mapping[str, Tensor] | None = None,
    resume: bool = False,
    epochs: int | None = None,
    report: Callable[[dict[str, float], int], None] = lambda figures, epoch: None,
    say: Callable[[str], None] = lambda line: None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> Outcome:
    """Fits a module, and keeps the weights of the epoch that validation liked best.

    The same call serves one process and each of several that torchrun started. Embedding tables whose optimiser is
    fused are sharded: see `training.sharding`.

    Args:
        module: Its `model` is what is fitted; it logs "train/loss", and `monitor` when it validates.
        data: Training batches, and what is validated on.
        settings: Of the optimiser.
        folder: Where checkpoints go: "last.ckpt" after each epoch, and the best one.
        tables: The optimiser of the module's embedding tables.
        monitor: The validation figure, the higher the better; None fits exactly `epochs` epochs and validates nothing.
        batch_size: Rows of a batch over all processes, for the sharding planner's estimates.
        seed: Of the sharded tables' first weights.
        initial: Weights to begin with, by their names in `module.model`; None for those it has.
        resume: Go on from "last.ckpt" where there is one. The result is that of an undisturbed run.
        epochs: How many; the settings' where not given.
        report: Called after each epoch with its metrics and its number, from 1.
        say: Called with a line about the sharding plan.
        callbacks: Lightning's, of one's own.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        InputError: A damaged checkpoint, tables that do not fit, or another process that was lost.
    """
    model = module.model
    assert isinstance(model, nn.Module)
    if processes.is_first():
        folder.mkdir(parents=True, exist_ok=True)
    epochs = epochs or settings.max_epochs
    checkpoint = sharded_checkpoints.found(folder / "last.ckpt") if resume else None
    strategy = None
    world, local = processes.launched()
    if tables != "adamw" or world > 1 or (checkpoint is not None and checkpoint.is_dir()):
        from training.sharding import TorchRecStrategy

        begin = None if initial is None else {f"model.{name}": one for name, one in initial.items()}
        strategy = TorchRecStrategy(settings, tables, batch_size, seed, begin, say)
    elif initial is not None:
        model.load_state_dict(initial)
    if checkpoint is not None and checkpoint.is_file():
        _check_readable(checkpoint, strategy is not None)

    last = ModelCheckpoint(
        dirpath=folder, filename="last", save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks = [*callbacks, Reporter(report)]
    if settings.gradient_clip:
        callbacks.append(ClipGradients(settings.gradient_clip))
    best = None
    if monitor is not None:
        best = ModelCheckpoint(
            dirpath=folder,
            filename="best-{epoch}",
            monitor=monitor,
            mode="max",
            # of weights alone, Lightning does not ask callbacks what they would keep
            save_weights_only=not any(isinstance(one, WeightAveraging) for one in callbacks),
            auto_insert_metric_name=False,
        )
        callbacks += [
            best,
            StopEarly(monitor, mode="max", patience=max(1, settings.patience // settings.validate_every)),
        ]
    callbacks.append(last)  # after the best one's, whose name it keeps
    if progress and sys.stderr.isatty():
        callbacks.append(Progress(monitor))
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=epochs,
            precision=settings.precision_here,
            check_val_every_n_epoch=min(settings.validate_every, epochs),
            limit_val_batches=None if monitor else 0,
            num_sanity_val_steps=0,
            logger=False,
            callbacks=callbacks,
            plugins=[_AtomicCheckpoints()],
            use_distributed_sampler=False,  # the data divides each batch, so that all processes take as many steps
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="auto",
            devices=local,
            num_nodes=world // local,
            strategy=strategy or "auto",
        )
        try:
            with processes.telling_of_lost_ones():
                with interruptible(trainer):
                    trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
                return _outcome(trainer, model, best, folder / "last.ckpt" if strategy is not None else None)
        finally:
            if world == 1:
                processes.leave()


def _outcome(trainer: pl.Trainer, model: nn.Module, best: ModelCheckpoint | None, last: Path | None) -> Outcome:
    """The best epoch's weights; without validation the last ones, which of sharded tables are whole only on disk."""
    chosen = last if best is None else Path(best.best_model_path)
    weights: dict[str, Tensor] = {}
    epoch = trainer.current_epoch
    if chosen is None:
        weights = model.state_dict()
    elif trainer.is_global_zero:
        weights, read = _read(chosen, model)
        epoch = epoch if best is None else read + 1
    score = None if best is None else best.best_model_score
    value = float("nan") if score is None else float(score)
    return Outcome(weights, processes.gathered_objects(epoch)[0], value)


def _read(checkpoint: Path, model: nn.Module) -> tuple[dict[str, Tensor], int]:
    """A model's weights in a checkpoint, and the epoch, from 0."""
    if checkpoint.is_file():
        found = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = found["state_dict"]
    else:
        state = {
            f"model.{name}": torch.empty(tuple(weight.size()), dtype=weight.dtype)
            for name, weight in model.state_dict().items()
        }
        found = sharded_checkpoints.read_plain(checkpoint, state)
    return {key.removeprefix("model."): one for key, one in state.items() if key.startswith("model.")}, found["epoch"]


def _check_readable(checkpoint: Path, sharded: bool) -> None:
    if sharded:
        raise InputError(
            f"the checkpoint {checkpoint} was written by one process without sharded tables, so only such a run can "
            "go on with it; begin anew"
        )
    try:
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise InputError(f"the checkpoint {checkpoint} is damaged, so the run cannot be resumed") from error


class _quiet(warnings.catch_warnings):
    """Keeps hints that a user cannot act on off the screen, such as Lightning's about data loaders and hardware."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", module="lightning_fabric")
        # and what torch and TorchRec say to each other: about tracing, and about what either will change one day
        for message in ("Please use DTensor", "`broadcast_buffers`", "torch.distributed is disabled"):
            warnings.filterwarnings("ignore", message=message)
        for name in (
            "pytorch_lightning",
            "lightning.pytorch",
            "lightning_fabric",
            "torch.fx._symbolic_trace",
            "torchrec",
        ):
            logging.getLogger(name).setLevel(logging.ERROR)
