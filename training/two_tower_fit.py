"""Fitting a two-tower model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from features.errors import InputError
from features.prepared import Prepared
from recsys.losses import make_loss
from recsys.two_tower import TwoTower
from training import processes
from training.config import TrainConfig
from training.examples import TwoTowerData
from training.fit import fit_module
from training.two_tower import TwoTowerTraining

MONITOR = "validation/ndcg@10"


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Args:
        model: With the weights of the best epoch, for plain torch, in evaluation mode; None on processes other than
            the first.
        best_epoch: Counted from 1.
        validation: The best epoch's validation NDCG@10; NaN where there was no validation.
    """

    model: TwoTower | None
    best_epoch: int
    validation: float


def fit(
    config: TrainConfig,
    prepared: Prepared,
    folder: Path,
    *,
    initial: Mapping[str, Tensor] | None = None,
    resume: bool = False,
    epochs: int | None = None,
    report: Callable[[dict[str, float], int], None] = lambda figures, epoch: None,
    say: Callable[[str], None] = lambda line: None,
    progress: bool = True,
) -> Fitted:
    """Fits a two-tower model.

    Args:
        config: The run's configuration.
        prepared: The data.
        folder: Where checkpoints go.
        initial: Weights to begin with; None for random ones.
        resume: Go on from the folder's last checkpoint where there is one. The result is that of an undisturbed run.
        epochs: Fit exactly so many epochs and validate nothing: how a model is refitted on all data.
        report: Called after each epoch with its metrics and its number, from 1.
        say: Called with a line about the sharding plan.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        InputError: Nothing to train on, or nothing to validate on.
    """
    plain = check_usable(config, prepared, validate=epochs is None)
    torch.manual_seed(config.seed)
    parameters = plain.embeddings.layout.parameters
    data = TwoTowerData(prepared, config.examples, config.seed)
    outcome = fit_module(
        TwoTowerTraining(config, prepared, config.optimiser.lookups_by(parameters)),
        data,
        config.optimiser,
        folder,
        tables=config.optimiser.for_tables(parameters),
        monitor=MONITOR if epochs is None else None,
        batch_size=data.batch_size,
        seed=config.seed,
        initial=initial,
        resume=resume,
        epochs=epochs,
        report=report,
        say=say,
        progress=progress,
    )
    if processes.rank():
        return Fitted(None, outcome.best_epoch, outcome.value)
    plain.load_state_dict(outcome.weights, assign=True)
    return Fitted(plain.eval(), outcome.best_epoch, outcome.value)


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
