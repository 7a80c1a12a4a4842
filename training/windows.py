"""Training examples of next-item models: windows of histories, whose every item but the first is to be found.

Batches are slices of arrays. A split's withheld items are none of its training items, so they are never in a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from features.batches import FeatureBatch, Jagged, NextItemBatch
from features.errors import InputError
from features.prepared import Prepared
from training import processes
from training.evaluation import Evaluation
from training.sequential_config import WindowsConfig

#: batches among whose windows those of similar length are found: few enough that they stay random, many enough to help
_GROUP = 32


class Windows:
    """The batches of an epoch.

    Which they are depends on the seed and the epoch alone, so that a resumed run sees what an undisturbed one would.
    Every epoch has the same number of batches, whatever the cuts; their sizes differ by one window. Several processes
    each have a part of every batch.

    Args:
        prepared: The data.
        config: What a window is. Without a `max_length`, as long as the declared history, and whole if that has none.
        seed: Of the run.
        epoch: Tells the epoch whose batches are wanted.

    Raises:
        InputError: No history is declared.
    """

    def __init__(self, prepared: Prepared, config: WindowsConfig, seed: int, epoch: Callable[[], int]) -> None:
        history = prepared.dataset.schema.history
        if history is None:
            raise InputError("next-item training needs a user feature of kind 'sequence'; none is declared")
        self.prepared = prepared
        self.config = config
        self.seed = seed
        self.epoch = epoch
        self._history = history.name
        train = prepared.train
        self._users = np.flatnonzero(train.lengths >= 2)
        self._inputs = train.lengths[self._users] - 1  # the last item has no next one
        longest = int(self._inputs.max(initial=1))
        self._most = min(config.max_length or longest, history.max_length or longest)
        fewest = most_windows = len(self._users)
        if config.windows == "all":  # an early cut makes the most, a late one the fewest
            most_windows += int(np.ceil((self._inputs[self._inputs > self._most] - 1) / self._most).sum())
            fewest = int(np.ceil(self._inputs / self._most).sum())
        self.batch_size = config.batch_size or min(256, max(16, most_windows // 200))
        self._batches = min(math.ceil(most_windows / self.batch_size), fewest)  # no batch is empty

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[NextItemBatch]:
        random = np.random.default_rng([self.seed, self.epoch()])
        starts, lengths = self._cut(random)
        order = random.permutation(len(starts))
        batch_of = np.arange(len(starts)) * self._batches // max(1, len(starts))
        if self.config.group_by_length:
            order = order[np.lexsort((lengths[order], batch_of // _GROUP))]
        ends = np.searchsorted(batch_of, np.arange(self._batches + 1))
        turns = random.permutation(self._batches) if self.config.group_by_length else np.arange(self._batches)
        for start, stop in zip(ends[turns], ends[turns + 1], strict=True):
            mine = processes.my_part(stop - start)  # several processes draw the same, and each takes its own windows
            rows = order[start:stop][mine]
            yield self._batch(starts[rows], lengths[rows])

    def _cut(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Where each window's first input stands among the training items, and how many inputs it has. (W,) each

        A history longer than a window is cut at a random place of the first window's length, and then every
        `max_length` items. Neighbours share the item at the cut: it is the last target of one, and the first input of
        the next.
        """
        begins, inputs, most = self.prepared.train.offsets[self._users], self._inputs, self._most
        if self.config.windows == "last":
            lengths = np.minimum(inputs, most)
            return begins + inputs - lengths, lengths
        first = np.where(inputs > most, random.integers(1, most + 1, len(inputs)), inputs)
        counts = 1 + -(-(inputs - first) // most)
        of = np.repeat(np.arange(len(inputs)), counts)
        place = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)  # of a window among its user's
        starts = np.maximum(first[of] + (place - 1) * most, 0) * (place > 0)
        stops = np.minimum(first[of] + place * most, inputs[of])
        return begins[of] + starts, stops - starts

    def _batch(self, starts: np.ndarray, lengths: np.ndarray) -> NextItemBatch:
        items, times = self.prepared.train.values, self.prepared.train.times
        ends = np.cumsum(lengths)
        places = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
        history = Jagged(torch.from_numpy(items[places]), torch.from_numpy(lengths))
        features = FeatureBatch({self._history: history}, size=len(lengths))  # and nothing that no model would read
        if times is not None:
            history.times = torch.from_numpy(times[places])
            features.asked_at = torch.from_numpy(times[starts + lengths])  # when the last target came
        return NextItemBatch(features, targets=torch.from_numpy(items[places + 1]))


def _as_is(rows: np.ndarray) -> np.ndarray:
    """Keeps a data loader from making a tensor of user rows."""
    return rows


class NextItemData(pl.LightningDataModule):
    """Windows to train on, and the users whose validation items are to be found.

    Args:
        prepared: The data.
        config: What a window is.
        seed: Of the run.
    """

    trainer: pl.Trainer  # while it trains, and nobody asks at other times

    def __init__(self, prepared: Prepared, config: WindowsConfig, seed: int) -> None:
        super().__init__()
        self.prepared = prepared
        self._windows = Windows(prepared, config, seed, lambda: self.trainer.current_epoch)

    @property
    def batch_size(self) -> int:
        """Windows of a batch, over all processes."""
        return self._windows.batch_size

    def train_dataloader(self) -> Windows:
        """The batches of the trainer's current epoch."""
        return self._windows

    def val_dataloader(self) -> DataLoader:
        """Rows of the users with validation items, in chunks."""
        chunks = Evaluation(self.prepared, "validation").chunks()
        # torch's types want a Dataset, and a list is enough; and lists to collate, where nothing is
        return DataLoader(chunks, batch_size=None, collate_fn=_as_is)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        """Training batches travel; chunks of user rows stay on the host, where the histories are."""
        return batch.to(device=device, non_blocking=True) if isinstance(batch, NextItemBatch) else batch
