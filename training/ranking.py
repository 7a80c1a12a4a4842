"""Training a ranker: its configuration, its batches, and the Lightning module; validated by AUC over the whole part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from features.batches import RankingBatch
from features.errors import InputError
from features.labelled import LabelledExamples, LabelRule
from features.splits import TRAIN, VALIDATION
from recsys.auc import log_loss, roc_auc
from recsys.ranking import Ranker, RankerConfig
from training import processes
from training.config import DataConfig, SplitConfig
from training.optimisers import OptimiserConfig, configure

MONITOR = "validation/auc"


@dataclass(frozen=True)
class RankingConfig:
    """All that a ranker's run depends on.

    Args:
        data: Which data.
        split: How interactions are split.
        labels: Which are positive and which negative.
        model: What the ranker looks like.
        optimiser: How it is trained.
        batch_size: Examples of a batch, at most.
        epochs_per_pass: Into how many epochs a pass over the examples is cut. Click models have learned what they can
            within a pass or two, and overfit soon after; so validation, which comes at the end of epochs, may have to
            come several times a pass.
        embedding_decay: Weight of the squared length of the embeddings that a batch looks up, added to the loss. Unlike
            the optimiser's weight decay it leaves the rows alone that no example of the batch uses.
        seed: Of the weights and of the order of examples.
    """

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    labels: LabelRule = field(default_factory=LabelRule)
    model: RankerConfig = field(default_factory=RankerConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    batch_size: int = 1024
    epochs_per_pass: int = 1
    embedding_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs_per_pass"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1, got {getattr(self, name)}")
        for name in ("embedding_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is 0 or more, got {getattr(self, name)}")


class TrainingBatches:
    """The batches of an epoch; which they are depends on the seed and the epoch alone.

    Several processes each have a part of every batch.

    Args:
        examples: All examples; those of the training part are batched.
        config: Batch size, epochs of a pass, seed.
        epoch: Tells the epoch whose batches are wanted.
    """

    def __init__(self, examples: LabelledExamples, config: RankingConfig, epoch: Callable[[], int]) -> None:
        self.config = config
        self.epoch = epoch
        self._examples = examples
        self._index = examples.part(TRAIN)
        self._pass, self._drawn = -1, (examples, self._index)

    def __len__(self) -> int:
        return math.ceil(len(self._index) / (self.config.batch_size * self.config.epochs_per_pass))

    def __iter__(self) -> Iterator[RankingBatch]:
        number, stretch = divmod(self.epoch(), self.config.epochs_per_pass)
        if number != self._pass:
            random = np.random.default_rng([self.config.seed, number])
            order = random.permutation(self._index)
            self._pass, self._drawn = number, (self._examples.drawn(random), order)
        examples, order = self._drawn
        mine = np.array_split(order, self.config.epochs_per_pass)[stretch]
        for index in np.array_split(mine, len(self)):
            yield examples.take(index[processes.my_part(len(index))])


class PartBatches:
    """The examples of a part, in order, in batches.

    Args:
        examples: All examples.
        part: VALIDATION or TEST.
        batch_size: Nothing is kept of a batch but its scores, so large ones pay.
        divided: Whether several processes each have a part of every batch.
    """

    def __init__(self, examples: LabelledExamples, part: int, batch_size: int = 8192, divided: bool = False) -> None:
        self._examples, self._index, self._size, self._divided = examples, examples.part(part), batch_size, divided

    def __len__(self) -> int:
        return math.ceil(len(self._index) / self._size)

    def __iter__(self) -> Iterator[RankingBatch]:
        for start in range(0, len(self._index), self._size):
            index = self._index[start : start + self._size]
            yield self._examples.take(index[processes.my_part(len(index))] if self._divided else index)


class RankingData(pl.LightningDataModule):
    """Training batches in a new order each pass, and the validation part.

    Args:
        examples: All examples.
        config: The run's configuration.
    """

    trainer: pl.Trainer  # while it trains, and nobody asks at other times

    def __init__(self, examples: LabelledExamples, config: RankingConfig) -> None:
        super().__init__()
        self.examples = examples
        self.config = config

    def train_dataloader(self) -> TrainingBatches | range:
        """The batches of the trainer's current epoch; or a token for each."""
        return self._training()

    def _training(self) -> TrainingBatches:
        return TrainingBatches(self.examples, self.config, lambda: self.trainer.current_epoch)

    def val_dataloader(self) -> PartBatches:
        """The validation part."""
        return PartBatches(self.examples, VALIDATION, divided=True)


class RankerTraining(pl.LightningModule):
    """Trains a `Ranker` on binary cross-entropy.

    Args:
        config: The run's configuration.
        examples: The data.
        backend: Who looks up embeddings: see `recsys.embeddings.Embeddings`.
    """

    def __init__(
        self,
        config: RankingConfig,
        examples: LabelledExamples,
        backend: Literal["torch", "torchrec", "sharded"] = "torchrec",
    ) -> None:
        super().__init__()
        self.config = config
        self.model = Ranker(config.model, examples.features, examples.vocabularies, backend)
        self._losses: list[tuple[Tensor, Tensor]] = []
        self._scores: list[tuple[Tensor, Tensor]] = []

    def on_train_epoch_start(self) -> None:
        """Makes dropout depend on the seed and the epoch alone, so that a resumed run equals an undisturbed one."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch + 7_919 * processes.rank())
        self._losses = []

    def training_step(self, batch: RankingBatch, _: int) -> Tensor | None:
        """Mean cross-entropy of the examples in nats, and what their embeddings' lengths cost."""
        loss, mine = self.losses(self.model.inputs(batch.features), batch.labels)
        self._losses.append((mine, torch.tensor(float(len(batch.labels)), device=self.device)))
        return loss

    def losses(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss to step on, whose mean over processes is that of the whole batch, and the cross-entropies' sum.

        Args:
            inputs: Of the ranker's network. (B, inputs)
            labels: (B,)
        """
        n = len(labels)
        each = nn.functional.binary_cross_entropy_with_logits(self.model.score(inputs), labels, reduction="none")
        loss = each.sum() / max(1, n)  # a process's part of a small batch may be empty
        if self.config.embedding_decay:
            embedded = inputs[:, : self.model.embedded_width]
            loss = loss + self.config.embedding_decay * embedded.square().sum() / max(1, n)
        return loss * processes.weight(n, self.device), each.detach().sum()

    def on_train_batch_end(self, *_: object) -> None:
        """Logs the epoch's mean loss; once an epoch, because logging takes as long as a small model's step."""
        if self.trainer.is_last_batch:
            total, count = torch.stack([torch.stack(column) for column in zip(*self._losses, strict=True)]).sum(dim=1)
            several = processes.world_size() > 1
            mean = total / count.clamp(min=1)
            self.log("train/loss", mean, on_step=False, on_epoch=True, batch_size=int(count), sync_dist=several)

    def on_validation_epoch_start(self) -> None:
        """Forgets the scores of the last validation."""
        self._scores = []

    def validation_step(self, batch: RankingBatch, _: int) -> None:
        """Keeps the scores: an area under a curve is no mean over batches."""
        self._scores.append((batch.labels, self.model(batch.features).float()))

    def on_validation_epoch_end(self) -> None:
        """Logs AUC and log loss over the whole part."""
        columns = (processes.gathered(torch.cat(column)) for column in zip(*self._scores, strict=True))
        labels, logits = (column.cpu().numpy() for column in columns)
        self.log(MONITOR, roc_auc(labels, logits))
        self.log("validation/logloss", log_loss(labels, logits))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """See `training.optimisers.configure`."""
        return configure(self, self.config.optimiser)
