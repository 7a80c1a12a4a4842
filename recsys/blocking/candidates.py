"""Candidate pairs: what blockers find from both sides, in the order of how sure they are.

A pair counts 1 / rank in each list that it stands in, of the lists of nearest records of its two sides and of all ways
of looking (reciprocal ranks are summed rather than fused with a constant, as Cormack, Clarke and Büttcher, SIGIR 2009,
have it: the first place says far more of records than of documents). The best pairs are kept, as many as asked for in
all; so a record with many twins may have more of them than one with none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.record_pairs import RecordPairs
from features.records import Records
from recsys.blocking.nearest import Neighbours


@dataclass(frozen=True, eq=False)
class Candidates:
    """m pairs of records that are worth a look, the surest first.

    Args:
        left: One table.
        right: The other one, or the same.
        left_rows: (m,) int64
        right_rows: (m,) int64; of one table, the higher row.
        strength: The sum of reciprocal ranks. (m,) float64
        ways: By what was looked.
        ranks: The place, from 0, that each way gives the right record among the left one's nearest, and the left one
            among the right one's; -1 where it is not among them. (m, ways, 2) int32
    """

    left: Records
    right: Records
    left_rows: np.ndarray
    right_rows: np.ndarray
    strength: np.ndarray
    ways: tuple[str, ...]
    ranks: np.ndarray

    @classmethod
    def of(
        cls,
        left: Records,
        right: Records,
        found: Sequence[tuple[str, Neighbours, Neighbours]],
        most: int | None = None,
    ) -> Candidates:
        """Brings together what was found.

        Args:
            left: One table.
            right: The other one, or the same.
            found: For each way its name, the right records nearest to each left one, and the left ones nearest to each
                right one.
            most: So many pairs are kept; all, where not given.
        """
        one_table = left is right
        codes, columns, ranks = [], [], []
        for way, (_, *lists) in enumerate(found):
            for side, one in enumerate(lists[:1] if one_table else lists):
                asking, rank = np.nonzero(one.rows >= 0)
                answer = one.rows[asking, rank]
                codes.append(_codes(left, right, *((answer, asking) if side else (asking, answer))))
                # of one table, whose list it is depends on which of both records has the lower row
                columns.append(2 * way + (asking > answer if one_table else np.full(len(rank), side)))
                ranks.append(rank)
        different, which = np.unique(np.concatenate(codes), return_inverse=True)
        table = np.full((len(different), 2 * len(found)), -1, np.int32)
        table[which, np.concatenate(columns)] = np.concatenate(ranks)
        strength = ((table >= 0) / (np.abs(table) + 1.0)).sum(axis=1)  # the first place, 0, counts 1
        order = np.lexsort((different, -strength))[:most]
        rows = np.divmod(different[order], len(right))
        ways = tuple(name for name, _, _ in found)
        return cls(left, right, *rows, strength[order], ways, table[order].reshape(-1, len(found), 2))

    def __len__(self) -> int:
        return len(self.left_rows)

    def __repr__(self) -> str:
        return (
            f"Candidates({len(self):,} pairs of {self.left.name!r} and {self.right.name!r}, {self.per_record:.1f} a "
            f"record, by {', '.join(self.ways)})"
        )

    @property
    def pairs(self) -> RecordPairs:
        """Without labels. (m pairs)"""
        return RecordPairs(self.left, self.right, self.left_rows, self.right_rows)

    @property
    def smaller(self) -> int:
        """Records of the smaller table."""
        return min(len(self.left), len(self.right))

    @property
    def per_record(self) -> float:
        """How many there are for each record of the smaller table; of one table, how many each record is in."""
        return len(self) * (2 if self.left is self.right else 1) / self.smaller

    def take(self, places: np.ndarray | slice) -> Candidates:
        """Some of them, in the given order. (k,) -> k pairs"""
        left_rows, right_rows, strength = (one[places] for one in (self.left_rows, self.right_rows, self.strength))
        return Candidates(self.left, self.right, left_rows, right_rows, strength, self.ways, self.ranks[places])

    def places(self, pairs: RecordPairs) -> np.ndarray:
        """Where each pair stands, -1 where it is no candidate. (p pairs) -> (p,) int64"""
        own, asked = self.pairs.codes(), _codes(self.left, self.right, pairs.left_rows, pairs.right_rows)
        order = np.argsort(own)
        at = np.searchsorted(own[order], asked).clip(max=max(len(own) - 1, 0))
        if not len(own):
            return np.full(len(asked), -1)
        return np.where(own[order[at]] == asked, order[at], -1)


def _codes(left: Records, right: Records, left_rows: np.ndarray, right_rows: np.ndarray) -> np.ndarray:
    """A number a pair; of one table, whichever way round it is."""
    return RecordPairs(left, right, left_rows, right_rows).codes()
