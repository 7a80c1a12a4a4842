"""Training an entity matcher: its loss, MixDA, and how it is validated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.auc import log_loss, roc_auc
from recsys.matching.ditto import DittoMatcher, log_odds
from recsys.matching.pair_reader import PairReader
from recsys.matching.thresholds import best_f1
from training.matching.config import MatchTrainConfig
from training.matching.pair_batches import PairBatch
from training.optimisers import configure

#: the epoch is chosen by this
MONITOR = "validation/f1"


class MatcherTraining(pl.LightningModule):
    """Trains a `DittoMatcher` to tell the same from different, by binary cross-entropy.

    Args:
        config: The run's configuration.
        matcher: What is trained.
        reader: Its own.
        validation: Pairs with labels.
    """

    def __init__(
        self, config: MatchTrainConfig, matcher: DittoMatcher, reader: PairReader, validation: RecordPairs
    ) -> None:
        super().__init__()
        self.config = config
        self.model = matcher.train()  # Lightning leaves modules in the mode that they are in
        self._reader, self._validation = reader, reader.pairs(validation)

    def on_train_epoch_start(self) -> None:
        """Makes dropout depend on the seed and the epoch alone, so that a resumed run equals an undisturbed one."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: PairBatch, _: int) -> Tensor:
        """Mean cross-entropy of the pairs, in nats."""
        told = self.model.judge(self._vectors(batch))
        with torch.autocast(self.device.type, enabled=False):
            loss = binary_cross_entropy_with_logits(told.float(), batch.labels.to(told.device))
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(told))
        return loss

    def _vectors(self, batch: PairBatch) -> Tensor:
        """Of pairs, of their changed selves, or of points between both: one place for the whole batch. (B, H)"""
        if batch.pairs is None or batch.changed is None:
            only = batch.changed if batch.pairs is None else batch.pairs
            assert only is not None
            return self.model.vectors(only)
        alpha = torch.tensor(self.config.mixda_alpha)
        place = torch.distributions.Beta(alpha, alpha).sample().to(self.device)
        return torch.lerp(self.model.vectors(batch.changed), self.model.vectors(batch.pairs), place)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Tokens are few, and the matcher puts them where it is."""
        return batch

    def validation_step(self, *_: Any) -> None:
        """Logs how well the validation pairs are told apart: F1 at its best threshold, log loss, ROC AUC.

        Raises:
            InputError: The weights are numbers no more.
        """
        labels = self._validation.pairs.labels
        assert labels is not None  # as of all pairs of `LabelledPairs`
        scores = log_odds(self.model, self._reader, self._validation)
        if not np.isfinite(scores).all():
            raise InputError("the language model has come apart: what it says are no numbers; lower optimiser.lr")
        figures = {
            MONITOR: best_f1(scores, labels).f1,
            "validation/log_loss": log_loss(labels, scores),
            "validation/auc": roc_auc(labels, scores),
        }
        for name, one in figures.items():
            self.log(name, one, batch_size=1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """See `training.optimisers.configure`."""
        return configure(self, self.config.optimiser)
