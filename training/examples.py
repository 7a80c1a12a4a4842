"""Training examples: who is asked to find which items, from what history. Batches are slices of arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from features.batches import JaggedArray, TrainingBatch
from features.prepared import Prepared
from training import processes
from training.config import ExamplesConfig
from training.evaluation import Evaluation


class TrainingExamples:
    """The batches of an epoch.

    Which they are depends on the seed and the epoch alone, so that a resumed run sees what an undisturbed one would.
    Several processes each have a part of every batch.

    Args:
        prepared: The data.
        config: What an example is.
        seed: Of the run.
        epoch: Tells the epoch whose batches are wanted.
    """

    def __init__(self, prepared: Prepared, config: ExamplesConfig, seed: int, epoch: Callable[[], int]) -> None:
        self.prepared = prepared
        self.config = config
        self.seed = seed
        self.epoch = epoch
        train = prepared.train
        users = np.repeat(np.arange(len(train)), train.lengths)
        self._repeats = len(np.unique(users * len(prepared.items) + train.values)) < len(users)
        if config.unit == "users":
            self._rows = np.flatnonzero(train.lengths > 0)  # users
        else:
            self._rows = np.arange(len(train.values))  # interactions, as positions among the training items
            self._user_of = users

        most = 256 if config.unit == "users" else 4096
        self.batch_size = config.batch_size or min(most, max(16, len(self._rows) // 20))

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self.batch_size)

    def __iter__(self) -> Iterator[TrainingBatch]:
        random = np.random.default_rng([self.seed, self.epoch()])
        # draws of one's own, so that all processes stay in step with those that they share
        own = np.random.default_rng([self.seed, self.epoch(), 1 + processes.rank()])
        order = random.permutation(self._rows)
        for start in range(0, len(order), self.batch_size):
            yield self._batch(order[start : start + self.batch_size], random, own)

    def _batch(self, rows: np.ndarray, random: np.random.Generator, own: np.random.Generator) -> TrainingBatch:
        train = self.prepared.train
        if self.config.unit == "users":
            users = rows
            positions, lengths = train.positions(users)
            is_target = random.random(len(positions)) < self.config.target_share
        else:
            users = self._user_of[rows]
            positions, lengths = train.positions(users)
            is_target = positions == np.repeat(rows, lengths)
        # several processes draw the same, and make an example of their own part of the users
        mine = processes.my_part(len(users))
        chosen = slice(*np.concatenate([[0], np.cumsum(lengths)])[[mine.start, mine.stop]])
        users, lengths, positions, is_target = users[mine], lengths[mine], positions[chosen], is_target[chosen]
        row_of = np.repeat(np.arange(len(users)), lengths)
        items = train.values[positions]
        if self._repeats:  # an item that is to be found must not stand in the history from another time
            pairs = row_of * len(self.prepared.items) + items
            is_other = ~np.isin(pairs, pairs[is_target])
        else:
            is_other = ~is_target
        in_history = is_other
        if self.config.history_dropout:
            in_history = in_history & (own.random(len(positions)) >= self.config.history_dropout)
        if self.config.max_history:
            in_history = in_history & _sampled(in_history, row_of, lengths, self.config.max_history, own)
        features = self.prepared.user_features(users, _jagged(items, in_history, row_of, len(users)))
        return TrainingBatch(
            features,
            targets=_jagged(items, is_target, row_of, len(users)).tensors(),
            others=_jagged(items, is_other, row_of, len(users)).tensors(),
            user_rows=torch.from_numpy(users),
        )


def _as_is(rows: np.ndarray) -> np.ndarray:
    """Keeps a data loader from making a tensor of user rows."""
    return rows


def _jagged(values: np.ndarray, chosen: np.ndarray, row_of: np.ndarray, n_rows: int) -> JaggedArray:
    return JaggedArray.from_pairs(row_of[chosen], values[chosen], n_rows)


def _sampled(
    chosen: np.ndarray, row_of: np.ndarray, lengths: np.ndarray, at_most: int, random: np.random.Generator
) -> np.ndarray:
    """A mask that keeps at most `at_most` of each row's chosen values, any of them equally likely."""
    order = np.lexsort((random.random(len(chosen)), ~chosen, row_of))  # in each row the chosen ones first, shuffled
    place = np.empty(len(chosen), np.int64)
    place[order] = np.arange(len(chosen)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return place < at_most


class TwoTowerData(pl.LightningDataModule):
    """Training examples, and the users whose validation items are to be found.

    Args:
        prepared: The data.
        config: What an example is.
        seed: Of the run.
    """

    trainer: pl.Trainer  # while it trains, and nobody asks at other times

    def __init__(self, prepared: Prepared, config: ExamplesConfig, seed: int) -> None:
        super().__init__()
        self.prepared = prepared
        self.config = config
        self.seed = seed

        self._examples = TrainingExamples(prepared, config, seed, lambda: self.trainer.current_epoch)

    @property
    def batch_size(self) -> int:
        """Rows of a batch, over all processes."""
        return self._examples.batch_size

    def train_dataloader(self) -> TrainingExamples:
        """The batches of the trainer's current epoch."""
        return self._examples

    def val_dataloader(self) -> DataLoader:
        """Rows of the users with validation items, in chunks."""
        chunks = Evaluation(self.prepared, "validation").chunks()
        # torch's types want a Dataset, and a list is enough; and lists to collate, where nothing is
        return DataLoader(chunks, batch_size=None, collate_fn=_as_is)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        """Training batches travel; chunks of user rows stay on the host, where the histories are."""
        return batch.to(device=device, non_blocking=True) if isinstance(batch, TrainingBatch) else batch
