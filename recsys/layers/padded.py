"""Attention over jagged rows on padded ones: rows of similar length are padded to each other, and no further.

All that works place by place (projections, norms, feed-forward layers) works on the values as they are, end to end.
Attention alone wants a matrix, and gets a few of them. One matrix padded to the longest row would be half padding with
MovieLens-1M's histories and nine tenths with Amazon Beauty's, and costs 1.3 to 4 times as much; a row at a time needs
no padding, and costs up to 8 times as much where rows are short (`benchmarks/jagged_attention.py`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

#: a row joins a group whose longest row is no more than this many times as long, or this many places longer
_RATIO, _PLACES = 4 / 3, 16

#: see `PaddedGroups.with_gaps`
TIME_CLASSES = 128


@dataclass(frozen=True)
class PaddedGroups:
    """How the T values of B rows lie in padded groups; made once a batch, used by every layer.

    A row's values stand at the beginning of its padded row, so that a causal mask hides the padding as well.

    Args:
        shapes: Rows and places of each group, (b, l).
        gather: For each padded place the value that stands there; value 0 in the padding. (P,), P the sum of b * l
        place: For each value the padded place where it stands. (T,)
        gaps: For each place and each before it how much time lies between, in classes; see `with_gaps`. (b, l, l) each

    Example:
        >>> groups = PaddedGroups.of(torch.tensor([1, 40, 2]))
        >>> groups.shapes
        [(1, 40), (2, 2)]
        >>> values = torch.arange(43.0)[:, None]
        >>> padded = groups.padded(values)
        >>> padded[1][:, :, 0].tolist()
        [[41.0, 42.0], [0.0, 0.0]]
        >>> bool((groups.flat(padded) == values).all())
        True
    """

    shapes: list[tuple[int, int]]
    gather: Tensor
    place: Tensor
    gaps: list[Tensor] | None = None

    @classmethod
    def of(cls, lengths: Tensor) -> PaddedGroups:
        """Groups the rows of a jagged batch.

        Args:
            lengths: Of the rows; those without a value are in no group. (B,) int64
        """
        counts = lengths.cpu().numpy()
        starts = np.cumsum(counts) - counts
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] > 0]
        shapes, gather = [], [np.empty(0, np.int64)]
        place = np.empty(int(counts.sum()), np.int64)
        at = 0
        for first, after in pairwise(_bounds(counts[order])):
            rows = order[first:after]
            longest = int(counts[rows[0]])
            there = np.arange(longest) < counts[rows][:, None]  # (b, l)
            values = np.where(there, starts[rows][:, None] + np.arange(longest), 0).ravel()
            place[values[there.ravel()]] = at + np.flatnonzero(there)
            shapes.append((len(rows), longest))
            gather.append(values)
            at += len(values)
        device = lengths.device
        return cls(shapes, torch.from_numpy(np.concatenate(gather)).to(device), torch.from_numpy(place).to(device))

    def padded(self, values: Tensor) -> list[Tensor]:
        """Values as padded groups. (T, E) -> (b, l, E) each"""
        sizes = [rows * places for rows, places in self.shapes]
        parts = values.index_select(0, self.gather).split(sizes)
        return [part.view(*shape, -1) for part, shape in zip(parts, self.shapes, strict=True)]

    def with_gaps(self, times: Tensor, asked: Tensor) -> PaddedGroups:
        """The same groups with the time that has passed at each place since each other, as `TIME_CLASSES` classes.

        Class c begins at e^(0.301 c) units of time, as HSTU has it: seconds and microseconds both fit. The classes are
        int32, found among where they begin: a logarithm would be a float64 for each pair of places.

        Args:
            times: When each value happened. (T,) int64
            asked: When what comes after it is asked for. (T,) int64
        """
        classes = torch.arange(1, TIME_CLASSES, dtype=torch.float64, device=times.device)
        begins = (0.301 * classes).exp().ceil().long()  # of whole units of time
        gaps = []
        for happened, now in zip(self.padded(times[:, None]), self.padded(asked[:, None]), strict=True):
            passed = now - happened.transpose(1, 2)  # (b, l, l)
            gaps.append(torch.bucketize(passed, begins, right=True, out_int32=True))
        return dataclasses.replace(self, gaps=gaps)

    def flat(self, groups: list[Tensor]) -> Tensor:
        """Padded groups as values; the inverse of `padded`. (b, l, E) each -> (T, E)"""
        return torch.cat([group.flatten(0, 1) for group in groups]).index_select(0, self.place)


def _bounds(lengths: np.ndarray) -> list[int]:
    """Where each group begins, and where the last ends, among lengths that never rise."""
    bounds = [0]
    while bounds[-1] < len(lengths):
        longest = lengths[bounds[-1]]
        least = min(longest / _RATIO, longest - _PLACES)
        bounds.append(int(np.searchsorted(-lengths, -least, side="right")))
    return bounds
