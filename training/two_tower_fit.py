"""Fitting a two-tower model."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from features.prepared import Prepared
from recsys.two_tower import TwoTower
from training.config import TrainConfig
from training.examples import TwoTowerData
from training.fit import Fitted
from training.fit_options import FitOptions
from training.ranked_validation import MONITOR
from training.retriever import fit_retriever, usable_model
from training.two_tower import TwoTowerTraining

__all__ = ["MONITOR", "check_usable", "fit"]


def fit(
    config: TrainConfig,
    prepared: Prepared,
    folder: Path,
    *,
    epochs: int | None = None,
    **options: Unpack[FitOptions],
) -> Fitted[TwoTower]:
    """Fits a two-tower model.

    Args:
        config: The run's configuration.
        prepared: The data.
        folder: Where checkpoints go.
        epochs: Fit exactly so many epochs and validate nothing: how a model is refitted on all data.
        options: initial, resume, report, say, callbacks and progress, as `training.fit.fit_module` takes them.

    Raises:
        InputError: Nothing to train on, or nothing to validate on.
    """
    plain = check_usable(config, prepared, validate=epochs is None)
    data = TwoTowerData(prepared, config.examples, config.seed)
    return fit_retriever(TwoTowerTraining, data, plain, config, prepared, folder, epochs, **options)


def check_usable(config: TrainConfig, prepared: Prepared, validate: bool = True) -> TwoTower:
    """Finds out, before anything is written, what fitting would stumble over.

    Returns:
        The model for plain torch, without memory for its weights.

    Raises:
        InputError: Nothing to train on or to validate on, or a loss or a model that cannot be made.
    """
    return usable_model(config, prepared, validate)
