"""Records of which some are known to be the same, a batch at a time: what a language model is drawn together on.

Peeters and Bizer, 'Supervised Contrastive Learning for Product Matching' (WWW 2022; arXiv 2202.02098). Training pairs
that are the same make groups of records. A table is taken to tell each thing once; a record of it and one of the other
table may be the same though nobody has said so. So a batch has the records of one table, and of the other one only
those that are linked to them (source-aware sampling, section 3.2). A table that is compared with itself has no such
parts, and its unlinked duplicates are driven apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.utils.data import DataLoader

from features.record_pairs import RecordPairs
from recsys.matching.augment import augment
from recsys.matching.pair_reader import PairReader
from recsys.matching.serialise import Sequences
from training.matching.config import MatchTrainConfig


@dataclass(frozen=True, eq=False)
class LinkedRecords:
    """The records of training pairs, and which are known to be the same thing.

    Args:
        sides: 0 for the left table, 1 for the right one. (n,)
        rows: In their tables. (n,)
        groups: Those of one number are the same. (n,)
        pools: Places of records of one table, and of those of the other that are linked to them.
    """

    sides: np.ndarray
    rows: np.ndarray
    groups: np.ndarray
    pools: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, pairs: RecordPairs) -> LinkedRecords:
        """Those of labelled pairs."""
        one_table = pairs.left is pairs.right
        both = (pairs.left_rows, pairs.right_rows)
        known = [np.unique(np.concatenate(both))] if one_table else [np.unique(rows) for rows in both]
        sides = np.repeat(np.arange(len(known)), [len(rows) for rows in known])
        rows = np.concatenate(known)
        left = np.searchsorted(known[0], pairs.left_rows[pairs.labels])
        right = np.searchsorted(known[-1], pairs.right_rows[pairs.labels]) + (0 if one_table else len(known[0]))
        links = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(len(rows), len(rows)))
        groups = connected_components(links, directed=False)[1].astype(np.int64)
        own = [groups[sides == side] for side in range(len(known))]
        pools = tuple(np.flatnonzero((sides == side) | np.isin(groups, mine)) for side, mine in enumerate(own))
        return cls(sides, rows, groups, pools)

    def contradictions(self, pairs: RecordPairs) -> int:
        """How many pairs that are labelled different have records of one group.

        Args:
            pairs: Those that the groups are of.
        """
        first_right = 0 if pairs.left is pairs.right else int((self.sides == 0).sum())
        left = np.searchsorted(self.rows[self.sides == 0], pairs.left_rows)
        right = np.searchsorted(self.rows[self.sides == self.sides.max()], pairs.right_rows) + first_right
        assert pairs.labels is not None
        return int(((self.groups[left] == self.groups[right]) & ~pairs.labels).sum())


@dataclass
class ContrastBatch:
    """Records of which some are the same.

    Args:
        records: (B,)
        groups: Those of one number are the same. (B,) int64
    """

    records: Sequences
    groups: Tensor


class ContrastData(pl.LightningDataModule):
    """Each epoch every record of each pool, and another one of its group, or itself; both changed.

    Args:
        pairs: With labels.
        reader: What a matcher reads of them.
        config: Of the run.
    """

    trainer: pl.Trainer  # while it trains, and nobody asks at other times

    def __init__(self, pairs: RecordPairs, reader: PairReader, config: MatchTrainConfig) -> None:
        super().__init__()
        self._told, self._reader, self._config = reader.pairs(pairs), reader, config
        self.linked = LinkedRecords.of(self._told.pairs)

    def train_dataloader(self) -> ContrastData:
        """The batches of the trainer's current epoch."""
        return self

    def val_dataloader(self) -> DataLoader:
        """One step, in which everything is measured."""
        # torch's types want a Dataset, and a list is enough
        return DataLoader([0], batch_size=None)  # type: ignore[arg-type]

    def __len__(self) -> int:
        size = self._config.contrast.batch_size
        return sum(-(-len(pool) // size) for pool in self.linked.pools)

    def __iter__(self) -> Iterator[ContrastBatch]:
        random = np.random.default_rng([self._config.seed, self.trainer.current_epoch, 1])
        size = self._config.contrast.batch_size
        parts = []
        for pool in self.linked.pools:
            order = random.permutation(pool)
            parts += [(pool, order[start : start + size]) for start in range(0, len(order), size)]
        for n in random.permutation(len(parts)):
            pool, some = parts[n]
            yield self._batch(pool, some, random)

    def _batch(self, pool: np.ndarray, some: np.ndarray, random: np.random.Generator) -> ContrastBatch:
        groups = self.linked.groups
        order = pool[np.argsort(groups[pool], kind="stable")]
        starts, ends = (np.searchsorted(groups[order], groups[some], side) for side in ("left", "right"))
        other = order[starts + (random.random(len(some)) * (ends - starts)).astype(np.int64)]
        how = self._config.contrast.augment
        pairs = [(self._record(one), self._record(two)) for one, two in zip(some, other, strict=True)]
        records = [record for pair in pairs for record in augment(pair, how, random)]
        return ContrastBatch(self._reader.write.alone(records), torch.from_numpy(np.repeat(groups[some], 2)))

    def _record(self, place: int) -> list:
        told = self._told.right if self.linked.sides[place] else self._told.left
        return told.record(int(self.linked.rows[place]))
