"""The Lightning module of two-tower models: loss, optimiser, validation by full ranking."""

from __future__ import annotations

import math

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from features.batches import FeatureBatch, TrainingBatch
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
        self.n_items = len(prepared.items)
        self._all_items = prepared.item_table.take(np.arange(self.n_items))
        self._frequency = torch.from_numpy(prepared.item_counts)
        self._evaluation: Evaluation | None = None

    def setup(self, stage: str) -> None:
        """Puts the catalogue where the model is."""
        self._all_items = self._all_items.to(device=self.device)
        self._frequency = self._frequency.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Makes dropout depend on the seed and the epoch alone, so that a resumed run equals an undisturbed one."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch)

    def _encode_items(self, rows: Tensor) -> Tensor:
        """The vectors of different items, in ascending order of rows. (M,) -> (M, D)"""
        if len(rows) == self.n_items:  # then it is all of them
            return self.model.encode_items(self._all_items)
        items: FeatureBatch = self.prepared.item_table.take(rows.cpu().numpy())
        return self.model.encode_items(items.to(device=self.device))

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        """Mean cross-entropy of the targets, in nats."""
        loss = self.loss(
            self.model.encode_users(batch.users),
            batch.targets,
            self._encode_items,
            self.n_items,
            self._frequency,
            others=batch.others,
        )
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch.targets))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Encodes the catalogue once."""
        if self._evaluation is None:
            self._evaluation = Evaluation(self.prepared, "validation")
        self._scores = ModelScores(
            self.model, self._evaluation, item_vectors=self.model.encode_items(self._all_items).float()
        )
        self._sums = []

    def validation_step(self, users: np.ndarray, _: int) -> None:
        """Ranks the whole catalogue for a chunk of users."""
        ranking = self._evaluation.rank(users, self._scores.scorer(users))
        self._sums.append(self._evaluation.sums(RankedTargets.of(*ranking), slices=False))

    def on_validation_epoch_end(self) -> None:
        """Logs the ranking metrics."""
        figures = sum_up(self._sums)
        for name in ("ndcg@10", "hr@10"):
            self.log(f"validation/{name}", figures[name], prog_bar=True)

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
