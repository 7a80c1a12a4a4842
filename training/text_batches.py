"""Batches of pairs of texts: what each anchor is to find, among what, and what is no negative of it.

An anchor is told from the positives of the whole batch and from hard negatives, items whose texts the encoder finds
alike as it is when the epoch begins. What belongs with an anchor as well as its positive does is left out of its
comparison: the same item or text, an item that was taken near it too, and what answers an anchor that says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from features.errors import InputError
from features.text_pairs import PairSource, TextPairs
from recsys.index import ItemIndex
from recsys.text_encoders.encoder import TextEncoder
from training.text_encoder_config import TextEncoderTrainConfig

#: of the items nearest to an anchor, the first are too often as right as the positive, and the last too easy
_NEAREST, _EASIEST = 10, 60


@dataclass
class TextBatch:
    """B pairs, and H hard negatives.

    Args:
        anchors: Tokens. (B,)
        candidates: Tokens of the positives, and of the hard negatives after them. (B + H,)
        together: Which candidates belong with an anchor, its own positive apart. (B, B + H) bool
    """

    anchors: list[list[int]]
    candidates: list[list[int]]
    together: Tensor


class NearItems:
    """The items whose texts an encoder finds most like each item's, the very nearest left out.

    Args:
        pairs: Whose items.
        encoder: As it is now.
    """

    def __init__(self, pairs: PairSource, encoder: TextEncoder) -> None:
        rows = pairs.items
        training = encoder.training
        vectors = encoder.eval().encode(pairs.text_of(rows))
        encoder.train(training)
        _, found = ItemIndex.build(vectors).search(vectors, min(_EASIEST, len(rows)))
        self._near = rows[found[:, min(_NEAREST, found.shape[1] - 1) :]]  # (m, K)
        self._place = np.full(rows.max() + 1, -1)
        self._place[rows] = np.arange(len(rows))

    def draw(self, items: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
        """Some items near each of some, those of the first one first. (B,) -> (B * n,)

        Args:
            items: Rows of items with a text.
            n: How many of each.
            random: Where chance comes from.
        """
        near = self._near[self._place[items]]
        chosen = random.integers(near.shape[1], size=(len(near), n))
        return np.take_along_axis(near, chosen, axis=1).ravel()


class TextBatches:
    """The batches of an epoch; which they are depends on the seed, the epoch, and the encoder as it is then.

    Every epoch has the same number of batches, of the same size.

    Args:
        pairs: Where they come from.
        config: Of the run.
        encoder: What is tuned.
        epoch: Tells the epoch whose batches are wanted.

    Raises:
        InputError: There is a single pair.
    """

    def __init__(
        self, pairs: PairSource, config: TextEncoderTrainConfig, encoder: TextEncoder, epoch: Callable[[], int]
    ) -> None:
        self._pairs, self._config, self._encoder, self._epoch = pairs, config, encoder, epoch
        n = len(pairs.draw([config.seed, 0]))
        if n < 2:
            raise InputError(f"there is one pair of texts of the kind {config.pairs.kind!r}, and none to tell it from")
        self._size = min(config.batch_size, n)
        self._batches = n // self._size

    def __len__(self) -> int:
        return self._batches

    @property
    def pairs(self) -> int:
        """How many an epoch has."""
        return self._batches * self._size

    def __iter__(self) -> Iterator[TextBatch]:
        seed = [self._config.seed, self._epoch()]
        drawn, random = self._pairs.draw(seed), np.random.default_rng([*seed, 1])
        near = NearItems(self._pairs, self._encoder) if self._config.hard_negatives else None
        # an epoch may draw somewhat fewer pairs than the first one: then some come twice
        for chosen in np.resize(np.arange(len(drawn)), (self._batches, self._size)):
            yield self._batch(drawn, chosen, near, random)

    def _batch(
        self, drawn: TextPairs, chosen: np.ndarray, near: NearItems | None, random: np.random.Generator
    ) -> TextBatch:
        anchors, items = drawn.anchor_items[chosen], drawn.items[chosen]
        asked, told = [drawn.anchors[n] for n in chosen], [drawn.positives[n] for n in chosen]
        if near is not None:  # of a query, near the item that was taken
            more = near.draw(np.where(anchors < 0, items, anchors), self._config.hard_negatives, random)
            items, told = np.concatenate([items, more]), [*told, *self._pairs.text_of(more)]
        together = belonging(self._pairs, anchors, items, asked, told)
        return TextBatch(self._encoder.tokens(asked), self._encoder.tokens(told), torch.from_numpy(together))


def belonging(
    pairs: PairSource, anchors: np.ndarray, items: np.ndarray, asked: Sequence[str], told: Sequence[str]
) -> np.ndarray:
    """Which candidates belong with an anchor as well as its own positive does, which is not among them. (B, B + H) bool

    Args:
        pairs: Knows which items were taken near each other.
        anchors: The items that the anchors are of, -1 where of none. (B,)
        items: Those that the candidates are of, the anchors' positives first. (B + H,)
        asked: The anchors' texts. (B,)
        told: The candidates'. (B + H,)
    """
    size = len(anchors)
    found = pairs.together(anchors[:, None], items[None]) | (items[:size, None] == items[None])
    said, wanted = _numbered(told), _numbered(asked)
    found |= said[:size, None] == said[None]
    found[:, :size] |= wanted[:, None] == wanted[None]
    found[np.arange(size), np.arange(size)] = False
    return found


def _numbered(texts: Sequence[str]) -> np.ndarray:
    """A number for each text, the same for the same. (n,)"""
    return np.unique(np.array(texts, dtype=object), return_inverse=True)[1]


class TextPairData(pl.LightningDataModule):
    """Pairs to train on; what is validated on is the module's own.

    Args:
        pairs: Where they come from.
        config: Of the run.
        encoder: What is tuned.

    Raises:
        InputError: There is a single pair.
    """

    trainer: pl.Trainer  # while it trains, and nobody asks at other times

    def __init__(self, pairs: PairSource, config: TextEncoderTrainConfig, encoder: TextEncoder) -> None:
        super().__init__()
        self._batches = TextBatches(pairs, config, encoder, lambda: self.trainer.current_epoch)

    @property
    def extent(self) -> str:
        """How much an epoch is, for people."""
        return f"{self._batches.pairs:,} pairs an epoch, in {len(self._batches):,} batches"

    def train_dataloader(self) -> TextBatches:
        """The batches of the trainer's current epoch."""
        return self._batches

    def val_dataloader(self) -> DataLoader:
        """One step, in which everything is measured."""
        # torch's types want a Dataset, and a list is enough
        return DataLoader([0], batch_size=None)  # type: ignore[arg-type]
