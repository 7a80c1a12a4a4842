"""Fitting a two-tower model."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import torch

from features.errors import InputError
from features.prepared import Prepared
from recsys.losses import make_loss
from recsys.two_tower import TwoTower
from training.config import TrainConfig
from training.examples import TwoTowerData
from training.fit import FitOptions, Fitted, fit_module
from training.two_tower import TwoTowerTraining

MONITOR = "validation/ndcg@10"


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
    torch.manual_seed(config.seed)
    parameters = plain.embeddings.layout.parameters
    data = TwoTowerData(prepared, config.examples, config.seed)
    return fit_module(
        TwoTowerTraining(config, prepared, config.optimiser.lookups_by(parameters)),
        data,
        config.optimiser,
        folder,
        tables=config.optimiser.for_tables(parameters),
        monitor=MONITOR if epochs is None else None,
        batch_size=data.batch_size,
        seed=config.seed,
        epochs=epochs,
        **options,
    ).of(plain)


def check_usable(config: TrainConfig, prepared: Prepared, validate: bool = True) -> TwoTower:
    """Finds out, before anything is written, what fitting would stumble over.

    Returns:
        The model for plain torch, without memory for its weights.

    Raises:
        InputError: Nothing to train on or to validate on, or a loss or a model that cannot be made.
    """
    for part, there in (("training", prepared.train), ("validation", prepared.validation)):
        if not len(there.values) and (validate or part == "training"):
            raise InputError(f"the data set {prepared.dataset.name!r} has no {part} interaction under this split")
    make_loss(config.loss.name, **config.loss.settings)
    with torch.device("meta"):  # takes neither time nor memory
        return TwoTower(config.model, prepared.dataset.schema, prepared.vocabularies)
