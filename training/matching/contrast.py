"""Supervised-contrastive pre-training of a matcher's language model on single records (R-SupCon).

Peeters and Bizer, 'Supervised Contrastive Learning for Product Matching' (WWW 2022; arXiv 2202.02098): the records of
one thing are to have like vectors, before pairs are learned from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from recsys.auc import roc_auc
from recsys.losses.supervised_contrast import supervised_contrast
from recsys.matching.ditto import DittoMatcher
from recsys.matching.pair_reader import PairReader, ToldPairs
from recsys.matching.siamese import record_vectors
from training.fit import fit_module
from training.fit_options import OtherFitOptions
from training.matching.config import MatchTrainConfig
from training.matching.contrast_batches import ContrastBatch, ContrastData
from training.optimisers import configure

#: the epoch is chosen by this: how well cosines tell validation pairs apart
MONITOR = "validation/auc"


class RecordContrast(pl.LightningModule):
    """Trains the language model of a matcher; its head stays as it is.

    Args:
        config: The run's configuration.
        matcher: Whose language model is trained.
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
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch + 500_009)

    def training_step(self, batch: ContrastBatch, _: int) -> Tensor:
        """The supervised contrast of the records, in nats."""
        vectors = self.model.encode(batch.records)
        with torch.autocast(self.device.type, enabled=False):
            groups = batch.groups.to(vectors.device)
            loss = supervised_contrast(vectors, groups, self.config.contrast.temperature)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(groups))
        return loss

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Tokens are few, and the matcher puts them where it is."""
        return batch

    def validation_step(self, *_: Any) -> None:
        """Logs how well the cosines of records tell the validation pairs apart."""
        labels = self._validation.pairs.labels
        assert labels is not None  # as of all pairs of `LabelledPairs`
        self.log(MONITOR, roc_auc(labels, cosines(self.model, self._reader, self._validation)), batch_size=1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """See `training.optimisers.configure`."""
        contrast = self.config.contrast
        return configure(self, dataclasses.replace(self.config.optimiser, lr=contrast.lr, max_epochs=contrast.epochs))


@torch.inference_mode()
def cosines(matcher: DittoMatcher, reader: PairReader, told: ToldPairs) -> np.ndarray:
    """How alike the records of pairs are to a matcher's language model. (m,)"""
    left, right = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)
        for vectors in record_vectors(matcher, reader, told)
    )
    return (left[told.pairs.left_rows] * right[told.pairs.right_rows]).sum(axis=1)


def pretrain(
    config: MatchTrainConfig,
    matcher: DittoMatcher,
    reader: PairReader,
    data: LabelledPairs,
    folder: Path,
    say: Callable[[str], None],
    **options: Unpack[OtherFitOptions],
) -> None:
    """Trains a matcher's language model on records, in place; validation chooses the epoch.

    Args:
        config: The run's configuration.
        matcher: Whose language model is trained.
        reader: Its own.
        data: Pairs with labels.
        folder: Where checkpoints go.
        say: Called with a line whenever a stage begins.
        options: As `training.fit.fit_module` takes them.
    """
    report = options.get("report", lambda figures, epoch: None)

    def contrasted(figures: dict[str, float], epoch: int) -> None:
        report({f"contrast/{name.replace('/', '_')}": one for name, one in figures.items()}, epoch)

    options["report"] = contrasted
    records = ContrastData(data.train, reader, config)
    linked = records.linked
    say(f"contrasting {len(linked.rows):,} records of {len(np.unique(linked.groups)):,} things")
    if n := linked.contradictions(data.train.narrowed()):
        say(f"note: {n:,} pairs are labelled different, and other labels say that they are the same")
    outcome = fit_module(
        RecordContrast(config, matcher, reader, data.validation),
        records,
        dataclasses.replace(config.optimiser, lr=config.contrast.lr, max_epochs=config.contrast.epochs),
        folder,
        monitor=MONITOR,
        batch_size=config.contrast.batch_size,
        seed=config.seed,
        say=say,
        **options,
    )
    matcher.load_state_dict(outcome.weights)
