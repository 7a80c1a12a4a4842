"""Optimisers: AdamW for dense weights, and for tables either the same or one that steps inside the backward pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from features.errors import InputError
from recsys.precision import multiplies_bf16

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from pytorch_lightning.utilities.types import OptimizerLRScheduler

TableOptimiser = Literal["adamw", "rowwise-adagrad", "adagrad", "sgd"]

#: with these, a row that is cut into columns would be another algorithm: they keep one number a row
COLUMNS_APART = ("rowwise-adagrad",)

#: tables with more weights than this are never given a dense gradient, unless asked for
LARGE = 4_000_000


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with a learning rate that warms up and then falls; large tables apart.

    Args:
        lr: The highest learning rate.
        decay: How it falls: along a "cosine", or a "linear" slope.
        weight_decay: AdamW's, on every weight that it has.
        max_epochs: Epochs at the most; the rate falls to nothing there.
        patience: Epochs without a better validation figure after which training stops.
        validate_every: Validation happens every so many epochs.
        gradient_clip: Largest norm of the gradient; 0 for no limit. Fused optimisers step before it is known.
        precision: Lightning's. "bf16-mixed" pays where bf16 is multiplied in hardware, and "auto" takes it there; then
            figures depend on the machine a little more than they do anyway.
        backend: Who looks up embeddings when AdamW trains them: "torchrec" or "torch".
        tables: What trains embedding tables. "adamw" has a gradient and two moments of the whole table in every step,
            which is best for small ones and 70 times slower for a million rows. "rowwise-adagrad" (one number a row),
            "adagrad" and "sgd" are fused: they step inside the backward pass, on the rows that were read, and are what
            can be sharded. "auto" is "adamw" up to four million weights, and "rowwise-adagrad" beyond.
        table_lr: The highest learning rate of fused optimisers.
        sharding: Of fused tables over processes: "auto" lets TorchRec's planner choose; "table_wise", "row_wise" (on
            CPUs only tables that are read as sequences) or "column_wise". A column-wise "rowwise-adagrad" is another
            algorithm, with a number for each part of a row, and "auto" never takes it; "adagrad" and "sgd" are exact.
        pipeline: Of rankers with fused tables: send the next batch's rows while one is computed. It pays with several
            GPUs: see `training.pipeline`.
    """

    lr: float = 3e-3
    decay: Literal["cosine", "linear"] = "cosine"
    weight_decay: float = 0.0
    max_epochs: int = 40
    patience: int = 10
    validate_every: int = 2
    gradient_clip: float = 0.0
    precision: Literal["32-true", "bf16-mixed", "auto"] = "32-true"
    backend: Literal["torchrec", "torch"] = "torchrec"
    tables: Literal["auto", "adamw", "rowwise-adagrad", "adagrad", "sgd"] = "auto"
    table_lr: float = 0.05
    sharding: Literal["auto", "table_wise", "row_wise", "column_wise"] = "auto"
    pipeline: bool = False

    def __post_init__(self) -> None:
        if self.decay not in ("cosine", "linear"):
            raise InputError(f"optimiser.decay is {self.decay!r}, not 'cosine' or 'linear'")
        for name in ("lr", "max_epochs", "patience", "validate_every", "table_lr"):
            if not getattr(self, name) > 0:
                raise InputError(f"optimiser.{name} is a positive number, got {getattr(self, name)}")

    @property
    def precision_here(self) -> Literal["32-true", "bf16-mixed"]:
        """The precision on this machine: what "auto" comes to, else what is set."""
        if self.precision != "auto":
            return self.precision
        return "bf16-mixed" if multiplies_bf16() else "32-true"

    def for_tables(self, parameters: int) -> TableOptimiser:
        """What trains tables of so many weights; of none, as of models of texts alone, there is nothing to shard.

        Example:
            >>> OptimiserConfig().for_tables(1_000_000), OptimiserConfig().for_tables(10_000_000)
            ('adamw', 'rowwise-adagrad')
            >>> OptimiserConfig(tables="sgd").for_tables(1), OptimiserConfig(tables="sgd").for_tables(0)
            ('sgd', 'adamw')
        """
        if self.tables != "auto" and parameters:
            return self.tables
        return "adamw" if parameters <= LARGE else "rowwise-adagrad"

    def lookups_by(self, parameters: int) -> Literal["torch", "torchrec", "sharded"]:
        """The backend of `recsys.embeddings.Embeddings` for tables of so many weights."""
        return self.backend if self.for_tables(parameters) == "adamw" else "sharded"


def configure(module: pl.LightningModule, settings: OptimiserConfig) -> OptimizerLRScheduler:
    """What a module's `configure_optimizers` returns.

    The learning rates rise over the first twentieth of the steps, then fall; with `max_epochs` epochs, however many
    the trainer will run: a refit ends earlier than the schedule does, because it repeats the first epochs of the run
    that it follows.

    Args:
        module: A module whose trainer is set up.
        settings: The configuration.
    """
    trainer = module.trainer
    assert trainer.max_epochs is not None  # `training.fit` says how many
    steps = settings.max_epochs * trainer.estimated_stepping_batches / trainer.max_epochs
    warm_up = max(1.0, steps / 20)

    def rate(step: int) -> float:
        if step < warm_up:
            return min(1.0, (step + 1) / warm_up)
        past = min(1.0, (step - warm_up) / max(1, steps - warm_up))
        return 1 - past if settings.decay == "linear" else 0.5 * (1 + math.cos(math.pi * past))

    def adamw(weights: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)

    with_fused = getattr(trainer.strategy, "with_fused", None)  # training.sharding's
    optimiser = adamw(module.parameters()) if with_fused is None else with_fused(adamw)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
