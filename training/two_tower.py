"""The Lightning module of two-tower models: loss, optimiser, validation by full ranking."""

from __future__ import annotations

import math

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from features.batches import FeatureBatch, Jagged, TrainingBatch
from features.prepared import Prepared
from recsys.losses import make_loss
from recsys.metrics import RankedTargets
from recsys.two_tower import TwoTower
from training.config import TrainConfig
from training.evaluation import Evaluation, ModelScores, sum_up


class TwoTowerTraining(pl.LightningModule):
    """Trains a `TwoTower`.

    Args:
        config: The run's configuration.
        prepared: The data.
    """

    def __init__(self, config: TrainConfig, prepared: Prepared) -> None:
        super().__init__()
        self.config = config
        self.prepared = prepared
        self.model = TwoTower(
            config.model, prepared.dataset.schema, prepared.vocabularies, backend=config.optimiser.backend
        )
        self.loss = make_loss(config.loss.name, **config.loss.settings)
        # items that the split withholds must not be known to training, not even as what nobody takes
        only_trained = config.examples.candidates == "trained" or prepared.split.withholds_items
        known = np.flatnonzero(prepared.item_counts) if only_trained else np.arange(len(prepared.items))
        compact = np.full(len(prepared.items), -1)
        compact[known] = np.arange(len(known))
        self._known, self._compact = known, torch.from_numpy(compact)
        self._candidates = prepared.item_table.take(known)
        self._frequency = torch.from_numpy(prepared.item_counts[known])
        self._evaluation: Evaluation | None = None

    def on_fit_start(self) -> None:
        """Puts the catalogue where the model is."""
        self._candidates = self._candidates.to(device=self.device)
        self._frequency, self._compact = self._frequency.to(self.device), self._compact.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Makes dropout depend on the seed and the epoch alone, so that a resumed run equals an undisturbed one."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch)

    def _encode_candidates(self, rows: Tensor) -> Tensor:
        """The vectors of different candidates, in ascending order of rows. (M,) -> (M, D)"""
        if len(rows) == len(self._known):  # then it is all of them
            return self.model.encode_items(self._candidates)
        items: FeatureBatch = self.prepared.item_table.take(self._known[rows.cpu().numpy()])
        return self.model.encode_items(items.to(device=self.device))

    def _among_candidates(self, items: Jagged) -> Jagged:
        """Item rows as rows of the candidates."""
        return Jagged(self._compact[items.values], items.lengths)

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        """Mean cross-entropy of the targets, in nats."""
        loss = self.loss(
            self.model.encode_users(batch.users),
            self._among_candidates(batch.targets),
            self._encode_candidates,
            len(self._known),
            self._frequency,
            others=self._among_candidates(batch.others),
        )
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.targets))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Encodes the catalogue once."""
        if self._evaluation is None:
            self._evaluation = Evaluation(self.prepared, "validation")
        self._scores = ModelScores(self.model, self._evaluation)
        self._sums = []

    def validation_step(self, users: np.ndarray, _: int) -> None:
        """Ranks the whole catalogue for a chunk of users."""
        ranking = self._evaluation.rank(users, self._scores.scorer(users))
        self._sums.append(self._evaluation.sums(RankedTargets.of(*ranking), slices=False))

    def on_validation_epoch_end(self) -> None:
        """Logs the ranking metrics."""
        figures = sum_up(self._sums)
        for name in ("ndcg@10", "hr@10"):
            self.log(f"validation/{name}", figures[name])

    def configure_optimizers(self) -> dict:
        """AdamW; the learning rate rises over the first twentieth of the steps, then falls along a cosine."""
        settings = self.config.optimiser
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        # a refit ends earlier than the schedule does: it repeats the first epochs of the run it follows
        steps = settings.max_epochs * self.trainer.estimated_stepping_batches / self.trainer.max_epochs
        warm_up = max(1.0, steps / 20)

        def rate(step: int) -> float:
            if step < warm_up:
                return min(1.0, (step + 1) / warm_up)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
