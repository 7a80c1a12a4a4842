"""Ranks of chosen items in the exact order of a full ranking, from one sort a user however many items are chosen."""

from __future__ import annotations

import torch
from torch import Tensor

#: the rank of a target that is not in the ranking at all: it was removed as seen, or its score is -inf
UNRANKED = torch.iinfo(torch.int64).max

_LOW = 0xFFFF_FFFF


def order_keys(scores: Tensor, rows: Tensor) -> Tensor:
    """One integer per score and item, ascending in the order of a ranking: score descending, then row ascending.

    A float's bits are in the order of its value (negative ones backwards), and the row fills the 32 bits below: no two
    items compare equal, so any sort gives the same result and ties need no second look.

    Args:
        scores: float32, no NaN.
        rows: int64 in [0, 2^32), of the same or a broadcast shape.

    Example:
        >>> order_keys(torch.tensor([0.5, -1.0, 0.5]), torch.tensor([7, 3, 2])).argsort().tolist()
        [2, 0, 1]
    """
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 makes 0.0 of -0.0
    bits ^= (bits >> 31) & 0x7FFF_FFFF  # the sign's copies turn negative ones round: now ascending
    return bits.bitwise_not_().long().bitwise_left_shift_(32).bitwise_or_(rows)


class TargetRanks:
    """Counts, for the targets of one chunk of users, the items that stand before them.

    Give every block of scores to `read_scores`, and then every block to `count`.

    Args:
        users: The row of the blocks that each target belongs to. (T,) int64
        rows: The targets' item rows; -1 is never found. (T,) int64
    """

    def __init__(self, users: Tensor, rows: Tensor) -> None:
        self.users, self.rows = users, rows
        self.scores = torch.full(rows.shape, -torch.inf, device=rows.device)
        self.before = torch.zeros_like(rows)
        self.ties = torch.zeros_like(rows)

    def read_scores(self, start: int, block: Tensor) -> None:
        """Takes the targets' scores from the block: computed apart they could differ in the last bit.

        Args:
            start: The item row of the block's first column.
            block: (b, n)
        """
        here = self._within(start, block).nonzero()[:, 0]
        self.scores[here] = block[self.users[here], self.rows[here] - start]

    def count(self, start: int, block: Tensor) -> None:
        """Counts the block's items that stand before each target, and those that share its score.

        Args:
            start: The item row of the block's first column.
            block: Is written to: a second matrix product may differ in the last bit, and then a target would stand
                before itself. (b, n)
        """
        n = block.shape[1]
        within = self._within(start, block)
        here = within.nonzero()[:, 0]
        block[self.users[here], self.rows[here] - start] = self.scores[here]
        keys = order_keys(block, torch.arange(start, start + n, device=block.device))
        if keys.is_cpu:
            keys.numpy().sort(axis=1)  # in place, and several times as fast as torch's
        else:
            keys = keys.sort(dim=1).values
        own = order_keys(self.scores, self.rows.clamp(min=0))
        self.before += self._below(keys, own)
        same = self._below(keys, own | _LOW) - self._below(keys, own & ~_LOW)
        self.ties += same - within.long()

    def _within(self, start: int, block: Tensor) -> Tensor:
        return (self.rows >= start) & (self.rows < start + block.shape[1])

    def _below(self, keys: Tensor, bound: Tensor) -> Tensor:
        """How many keys of its user's row are below each target's bound, by bisection. (T,)."""
        low, high = torch.zeros_like(bound), torch.full_like(bound, keys.shape[1])
        for _ in range(keys.shape[1].bit_length()):
            middle = (low + high) // 2
            below = keys[self.users, middle.clamp(max=keys.shape[1] - 1)] < bound
            below &= low < high
            low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
        return low

    def ranks(self) -> Tensor:
        """From 1; `UNRANKED` where the target is not in the ranking. (T,)."""
        gone = self.scores == -torch.inf
        self.ties[gone] = 0
        return torch.where(gone, UNRANKED, self.before + 1)
