"""Batches of pairs of records: each epoch in another order, pairs of like length together, changed if so asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from features.record_pairs import RecordPairs
from recsys.matching.augment import augment
from recsys.matching.pair_reader import PairReader
from recsys.matching.serialise import Written
from recsys.matching.words import ToldRecords
from training.matching.config import MatchTrainConfig

#: batches whose pairs are sorted by length among themselves: more of them pad less, and are less at random
_TOGETHER = 16


@dataclass
class PairBatch:
    """B pairs.

    Args:
        pairs: As they are; None where only the changed ones are learned from.
        changed: Changed; None where they are not.
        labels: 1 for those that are the same, or how likely that is. (B,) float32
    """

    pairs: Written | None
    changed: Written | None
    labels: Tensor


class PairBatches:
    """The batches of an epoch; which they are depends on the seed and the epoch alone.

    Args:
        pairs: With labels.
        reader: What a matcher reads of them.
        config: Of the run.
        epoch: Tells the epoch whose batches are wanted.
    """

    def __init__(
        self, pairs: RecordPairs, reader: PairReader, config: MatchTrainConfig, epoch: Callable[[], int]
    ) -> None:
        self._reader, self._config, self._epoch = reader, config, epoch
        self._told = reader.pairs(pairs)
        self._pairs = pairs = self._told.pairs
        targets = pairs.labels if pairs.chances is None else pairs.chances
        assert targets is not None
        self._targets = targets.astype(np.float32)
        left, right = (_tokens(one) for one in (self._told.left, self._told.right))
        self._lengths = np.minimum(left[pairs.left_rows] + right[pairs.right_rows], reader.max_tokens)

    def __len__(self) -> int:
        return math.ceil(len(self._pairs) / self._config.batch_size)

    def __iter__(self) -> Iterator[PairBatch]:
        random = np.random.default_rng([self._config.seed, self._epoch()])
        size = self._config.batch_size
        order = random.permutation(len(self._pairs))
        some = [order[start : start + size * _TOGETHER] for start in range(0, len(order), size * _TOGETHER)]
        order = np.concatenate([one[np.argsort(self._lengths[one], kind="stable")] for one in some])
        for n in random.permutation(len(self)):
            yield self._batch(order[n * size : (n + 1) * size], random)

    def _batch(self, rows: np.ndarray, random: np.random.Generator) -> PairBatch:
        told = self._told.take(rows)
        labels = torch.from_numpy(self._targets[rows])
        if self._config.augment == "none":
            return PairBatch(self._reader.write(told), None, labels)
        changed = self._reader.write([augment(pair, self._config.augment, random) for pair in told])
        return PairBatch(self._reader.write(told) if self._config.mixda else None, changed, labels)


class PairData(pl.LightningDataModule):
    """Pairs to train on; what is validated on is the module's own.

    Args:
        pairs: With labels.
        reader: What a matcher reads of them.
        config: Of the run.
    """

    trainer: pl.Trainer  # while it trains, and nobody asks at other times

    def __init__(self, pairs: RecordPairs, reader: PairReader, config: MatchTrainConfig) -> None:
        super().__init__()
        self._batches = PairBatches(pairs, reader, config, lambda: self.trainer.current_epoch)

    def train_dataloader(self) -> PairBatches:
        """The batches of the trainer's current epoch."""
        return self._batches

    def val_dataloader(self) -> DataLoader:
        """One step, in which everything is measured."""
        # torch's types want a Dataset, and a list is enough
        return DataLoader([0], batch_size=None)  # type: ignore[arg-type]


def _tokens(records: ToldRecords) -> np.ndarray:
    """How many tokens each record's values have. (n,)"""
    each = np.array([len(word.tokens) for word in records.words], dtype=np.int64)[records.values.values]
    total = np.concatenate([[0], np.cumsum(each)])
    return np.diff(total[records.values.offsets[:: records.attributes]])
