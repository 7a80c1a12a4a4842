"""Fitting a sequential model."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import torch

from features.errors import InputError
from features.prepared import Prepared
from recsys.sequential import SequentialRecommender
from training.fit import Fitted
from training.fit_options import FitOptions
from training.retriever import fit_retriever, usable_model
from training.sequential import SequentialTraining, heads_of
from training.sequential_config import SequentialTrainConfig
from training.windows import NextItemData


def fit(
    config: SequentialTrainConfig,
    prepared: Prepared,
    folder: Path,
    *,
    epochs: int | None = None,
    **options: Unpack[FitOptions],
) -> Fitted[SequentialRecommender]:
    """Fits a sequential model.

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
    data = NextItemData(prepared, config.windows, config.seed)
    return fit_retriever(SequentialTraining, data, plain, config, prepared, folder, epochs, **options)


def check_usable(config: SequentialTrainConfig, prepared: Prepared, validate: bool = True) -> SequentialRecommender:
    """Finds out, before anything is written, what fitting would stumble over.

    Returns:
        The model for plain torch, without memory for its weights.

    Raises:
        InputError: Nothing to train on or to validate on, histories that hold what came later, or a loss or a model
            that cannot be made.
    """
    if prepared.split.histories == "any":
        raise InputError(
            f"the split {prepared.split.name!r} as it is set leaves items in a history that came after what is asked "
            "for, which a next-item model would learn from; take leave-one-out, time or sessions, or cold-items with "
            "split.settings.history=before"
        )
    plain = usable_model(config, prepared, validate)
    with torch.device("meta"):
        heads_of(config, prepared)
    if prepared.train.lengths.max() < 2:
        raise InputError(
            f"no user of the data set {prepared.dataset.name!r} has two training interactions under this split, so "
            "there is no next item to learn from"
        )
    return plain
