"""Training ComiRec, by the examples and the full-ranking validation of two-tower models."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from features.batches import JaggedArray, TrainingBatch
from features.errors import InputError
from features.prepared import Prepared
from recsys.comirec import ComiRec, ComiRecConfig, routed
from recsys.losses import make_loss
from recsys.top_k import Scorer
from training.config import ExamplesConfig, LossConfig
from training.evaluation import Evaluation
from training.examples import TwoTowerData
from training.fit import Fitted, fit_module
from training.fit_options import FitOptions
from training.optimisers import OptimiserConfig, configure
from training.ranked_validation import MONITOR, RankedValidation


@dataclass(frozen=True)
class ComiRecTrainConfig:
    """All that a fit depends on but the data.

    Args:
        model: What it looks like.
        examples: What one training example is.
        loss: As of two-tower models.
        optimiser: AdamW's.
        seed: Of first weights, examples and draws.
    """

    model: ComiRecConfig = field(default_factory=ComiRecConfig)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    seed: int = 0


class InterestScores:
    """An item's score is the highest of a user's interests, so that a full ranking merges them as the paper does.

    Args:
        model: The model, in evaluation mode.
        histories: Each user's. (U rows)
    """

    def __init__(self, model: ComiRec, histories: JaggedArray) -> None:
        self._model = model
        self._histories = histories

    @torch.no_grad()
    def scorer(self, users: np.ndarray) -> Scorer:
        """Scores of these users. (B,)"""
        items = self._model.items.weight
        interests = self._model.interests(self._histories.take(users).to(device=items.device))  # (B, K, D)

        def scores(rows: slice, columns: slice) -> Tensor:
            return (interests[rows] @ items[columns].T).amax(dim=1)

        return scores


class ComiRecTraining(RankedValidation):
    """Trains a `ComiRec`.

    Args:
        config: What a fit depends on.
        prepared: The data; its users declare a history.
    """

    def __init__(self, config: ComiRecTrainConfig, prepared: Prepared) -> None:
        super().__init__(prepared)
        self.config = config
        self.model = ComiRec(config.model, len(prepared.items))
        self.loss = make_loss(config.loss.name, **config.loss.settings)
        self._frequency = torch.from_numpy(prepared.item_counts)
        history = prepared.dataset.schema.history
        assert history is not None
        self._history = history.name

    def on_fit_start(self) -> None:
        """Puts the items' frequencies where the model is."""
        self._frequency = self._frequency.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Makes what is drawn depend on the seed and the epoch alone."""
        seed = self.config.seed * 1_000_003 + self.current_epoch
        torch.manual_seed(seed)
        self._draws = torch.Generator(self.device).manual_seed(seed)

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        """Mean loss of the targets, each asked of the interest that is nearest to it."""
        interests = self.model.interests(batch.users.sparse[self._history])
        vectors = self.model.encode_items(batch.targets.values)
        queries, targets, others = routed(interests, batch.targets, vectors, batch.others)
        loss = self.loss(
            queries,
            targets,
            self.model.encode_items,
            len(self.prepared.items),
            self._frequency,
            generator=self._draws,
            others=others,
            batch_items=targets.values,
        )
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=max(1, len(targets.values)))
        return loss

    def scores(self, evaluation: Evaluation) -> InterestScores:
        """What the model makes of the users now."""
        return InterestScores(self.model, evaluation.histories)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """See `training.optimisers.configure`."""
        return configure(self, self.config.optimiser)


def fit(config: ComiRecTrainConfig, prepared: Prepared, folder: Path, **options: Unpack[FitOptions]) -> Fitted[ComiRec]:
    """Fits a ComiRec, on one process.

    Args:
        config: What it depends on.
        prepared: The data; its users declare a history.
        folder: Where checkpoints go.
        options: resume, report, say, callbacks and progress, as `training.fit.fit_module` takes them.

    Raises:
        InputError: Users without a declared history, or nothing to train or to validate on.
    """
    history = prepared.dataset.schema.history
    if history is None:
        raise InputError("ComiRec reads histories, and the users declare none")
    for part, there in (("training", prepared.train), ("validation", prepared.validation)):
        if not len(there.values):
            raise InputError(f"the data set {prepared.dataset.name!r} has no {part} interaction under this split")
    torch.manual_seed(config.seed)
    data = TwoTowerData(prepared, config.examples, config.seed)
    module = ComiRecTraining(config, prepared)
    return fit_module(
        module, data, config.optimiser, folder, monitor=MONITOR, batch_size=data.batch_size, seed=config.seed, **options
    ).of(ComiRec(config.model, len(prepared.items)))
