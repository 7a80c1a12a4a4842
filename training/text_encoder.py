"""Tuning a text encoder on a project's own pairs of texts: configuration, batches, and the Lightning module.

Each anchor is to find its positive among those of the whole batch and some hard negatives: a softmax over cosines
divided by a temperature (the multiple-negatives loss of Henderson et al., arXiv 1705.00652). What belongs with an
anchor as well as its positive does, because it is the same item or was taken near it too, is no negative of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from features.errors import InputError
from features.prepared import Prepared
from features.text_pairs import PairsConfig, PairSource
from recsys.baselines import VectorKNN
from recsys.index import ItemIndex
from recsys.text_encoders import ItemTextConfig
from recsys.text_encoders.encoder import TextEncoder
from training.config import DataConfig, SplitConfig
from training.evaluation import Evaluation, evaluate
from training.optimisers import OptimiserConfig, configure

MONITOR = "validation/ndcg@10"

#: of the items nearest to an anchor, the first are too often as right as the positive, and the last too easy
_NEAREST, _EASIEST = 10, 60


@dataclass(frozen=True)
class TextEncoderTrainConfig:
    """All that the tuning of a text encoder depends on.

    Args:
        data: Which data.
        split: How interactions are split; items that it withholds are in no pair.
        text: What is told of items, and which model is tuned.
        pairs: Which texts belong together.
        batch_size: Pairs of a batch: each anchor is told from so many positives.
        hard_negatives: Items near an anchor, by the encoder as it is when an epoch begins, that each pair adds.
        temperature: What cosines are divided by.
        lora_rank: Tunes matrices of this rank beside the model's own, which stay as they are, and adds them in the end
            (LoRA, arXiv 2106.09685): for large models. 0 tunes the model itself.
        optimiser: How it is tuned.
        seed: Of draws and dropout.
    """

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=lambda: SplitConfig("leave-one-out"))
    text: ItemTextConfig = field(default_factory=ItemTextConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    batch_size: int = 64
    hard_negatives: int = 0
    temperature: float = 0.05
    lora_rank: int = 0
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            lr=5e-5, weight_decay=0.01, max_epochs=1, validate_every=1, gradient_clip=1.0, precision="auto"
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise InputError(f"batch_size is at least 2, so that there is something to be told from: {self.batch_size}")
        for name in ("hard_negatives", "lora_rank", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is 0 or more, got {getattr(self, name)}")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"temperature is a positive number, got {self.temperature}")


@dataclass
class TextBatch:
    """B pairs, and H hard negatives.

    Args:
        anchors: Tokens. (B,)
        candidates: Tokens of the positives and of the hard negatives. (B + H,)
        together: Which candidates belong with an anchor, its own positive apart. (B, B + H) bool
    """

    anchors: list[list[int]]
    candidates: list[list[int]]
    together: Tensor


class TextBatches:
    """The batches of an epoch; which they are depends on the seed, the epoch, and the encoder where it begins.

    Args:
        pairs: Where they come from.
        config: Of the run.
        encoder: What is tuned.
        epoch: Tells the epoch whose batches are wanted.
    """

    def __init__(
        self, pairs: PairSource, config: TextEncoderTrainConfig, encoder: TextEncoder, epoch: Callable[[], int]
    ) -> None:
        self._pairs, self._config, self._encoder, self._epoch = pairs, config, encoder, epoch
        self._n = len(pairs.draw([config.seed, 0]))  # those of other epochs are about as many

    def __len__(self) -> int:
        return max(1, self._n // self._config.batch_size)

    def __iter__(self) -> Iterator[TextBatch]:
        seed, size, hard = [self._config.seed, self._epoch()], self._config.batch_size, self._config.hard_negatives
        drawn = self._pairs.draw(seed)
        random = np.random.default_rng([*seed, 1])
        nearest = self._nearest() if hard else None
        for n in range(len(self)):
            chosen = np.arange(len(drawn))[n * size : (n + 1) * size]
            if len(chosen) < 2:
                return
            anchors = drawn.anchor_items[chosen]
            items, texts = drawn.items[chosen], [drawn.positives[one] for one in chosen]
            if nearest is not None:
                # of a query, what is near the item that was taken
                near = nearest[self._place[np.where(anchors < 0, items, anchors)]]
                which = random.integers(near.shape[1], size=(len(near), hard))
                more = np.take_along_axis(near, which, axis=1).ravel()
                items, texts = np.concatenate([items, more]), [*texts, *self._pairs.text_of(more)]
            same = self._pairs.together(anchors[:, None], items[None]) | (drawn.items[chosen][:, None] == items[None])
            same[np.arange(len(chosen)), np.arange(len(chosen))] = False
            yield TextBatch(
                self._encoder.tokens([drawn.anchors[one] for one in chosen]),
                self._encoder.tokens(texts),
                torch.from_numpy(same),
            )

    def _nearest(self) -> np.ndarray:
        """The items near each item that has a text, the very nearest left out. (m, K)"""
        rows = self._pairs.items
        training = self._encoder.training
        vectors = self._encoder.eval().encode(self._pairs.text_of(rows))
        self._encoder.train(training)
        self._place = np.full(rows.max() + 1, -1)
        self._place[rows] = np.arange(len(rows))
        _, found = ItemIndex.build(vectors).search(vectors, min(_EASIEST, len(rows)))
        return rows[found[:, min(_NEAREST, found.shape[1] - 1) :]]


class TextPairData(pl.LightningDataModule):
    """Pairs to train on; validation is the module's own.

    Args:
        pairs: Where they come from.
        config: Of the run.
        encoder: What is tuned.
    """

    def __init__(self, pairs: PairSource, config: TextEncoderTrainConfig, encoder: TextEncoder) -> None:
        super().__init__()
        self._pairs, self._config, self._encoder = pairs, config, encoder

    def train_dataloader(self) -> DataLoader:
        """The pairs of an epoch."""
        batches = TextBatches(self._pairs, self._config, self._encoder, lambda: self.trainer.current_epoch)
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> list[int]:
        """One step, in which everything is measured."""
        return [0]


class TextEncoderTraining(pl.LightningModule):
    """Tunes a `TextEncoder`; validation ranks the catalogue by the texts of what a user has had.

    Args:
        config: The run's configuration.
        prepared: The data.
        encoder: What is tuned.
        texts: Of the catalogue's items, in row order; None for an item without. (N,)
    """

    def __init__(
        self, config: TextEncoderTrainConfig, prepared: Prepared, encoder: TextEncoder, texts: Sequence[str | None]
    ) -> None:
        super().__init__()
        self.config, self.model = config, encoder
        self._prepared, self._texts = prepared, texts

    def on_train_epoch_start(self) -> None:
        """Makes dropout depend on the seed and the epoch alone, so that a resumed run equals an undisturbed one."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: TextBatch, _: int) -> Tensor:
        """Mean cross-entropy of the anchors, in nats."""
        anchors, candidates = self.model(batch.anchors), self.model(batch.candidates)
        scores = anchors @ candidates.T / self.config.temperature  # (B, B + H)
        scores = scores.masked_fill(batch.together.to(scores.device), -torch.inf)
        loss = cross_entropy(scores, torch.arange(len(scores), device=scores.device))
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(scores))
        return loss

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Tokens are few, and the encoder puts them where it is."""
        return batch

    def validation_step(self, *_: Any) -> None:
        """Logs how well texts alone find the validation items."""
        figures = text_figures(self._prepared, vectors_of(self.model, self._texts), "validation")
        for name in ("ndcg@10", "hr@10", "recall@20"):
            self.log(f"validation/{name}", figures[name])

    def configure_optimizers(self) -> dict[str, Any]:
        """See `training.optimisers.configure`."""
        return configure(self, self.config.optimiser)


def vectors_of(encoder: TextEncoder, texts: Sequence[str | None]) -> np.ndarray:
    """The vectors of texts; zeros for None. (n,) -> (n, V) float32"""
    told = [n for n, one in enumerate(texts) if one is not None]
    vectors = np.zeros((len(texts), encoder.size), np.float32)
    vectors[told] = encoder.encode([texts[n] for n in told])
    return vectors


def text_figures(prepared: Prepared, vectors: np.ndarray, part: str) -> dict[str, float]:
    """How well texts alone find the items of a part: by their cosines with those of the history.

    Args:
        prepared: The data.
        vectors: Of the catalogue's texts. (N, V)
        part: "validation" or "test".
    """
    evaluation, ranker = Evaluation(prepared, part), VectorKNN().fit(vectors)
    return evaluate(evaluation, lambda users: ranker.scorer(evaluation.histories.rows(users)))
