"""Batches: dataclasses of tensors, made by slicing arrays, never by a Python loop over rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor


class _Movable:
    """What TorchRec calls Pipelineable, of a dataclass: every tensor inside moves together.

    `to`'s keyword must be called `device`: TorchRec's pipelines pass it by that name.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        def apply(value: Any) -> Any:
            if isinstance(value, Tensor):
                return function(value)
            if isinstance(value, _Movable):
                return value._map(function)
            if isinstance(value, dict):
                return {key: apply(one) for key, one in value.items()}
            return value

        return type(self)(**{one.name: apply(getattr(self, one.name)) for one in dataclasses.fields(self)})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """A copy on `device`."""
        return self._map(lambda tensor: tensor.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """A copy in page-locked memory, so that it can travel to a GPU while the GPU works."""
        return self._map(lambda tensor: tensor.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Tells the allocator that `stream` still reads these tensors."""

        def told(tensor: Tensor) -> Tensor:
            tensor.record_stream(stream)
            return tensor

        self._map(told)


@dataclass
class Jagged(_Movable):
    """Rows of different lengths, end to end.

    Args:
        values: All values, first row first. (sum of L,)
        lengths: How many of them belong to each row. (B,) int64
        times: When each value happened, where that is told. (sum of L,) int64
    """

    values: Tensor
    lengths: Tensor
    times: Tensor | None = None

    def __len__(self) -> int:
        return self.lengths.numel()

    @property
    def row_of_value(self) -> Tensor:
        """The row each value belongs to. (sum of L,)"""
        return torch.repeat_interleave(self.lengths, output_size=self.values.numel())


@dataclass
class FeatureBatch(_Movable):
    """The declared features of B users or B items.

    Args:
        sparse: Feature name to vocabulary rows, jagged; -1 stands for an id that training has not seen. Ids and
            categorical values have rows of length 1 (0 where the value is missing).
        dense: Feature name to standardised numbers, (B,) float32, or to vectors, (B, V) float32.
        size: B, because a side may declare no feature of one kind.
        asked_at: When each user asks, in the unit of the histories' times, where that is told. (B,) int64
    """

    sparse: dict[str, Jagged] = field(default_factory=dict)
    dense: dict[str, Tensor] = field(default_factory=dict)
    size: int = 0
    asked_at: Tensor | None = None


@dataclass
class TrainingBatch(_Movable):
    """Users, and the items that their vectors are asked to find.

    Args:
        users: The B users' features, their history among them (with the targets taken out).
        targets: For each user the item rows to be found. (B rows, T values)
        others: For each user the other items it is known to have engaged with. They are neither to be found nor to
            be scored down: serving removes them from the ranking. (B rows)
        user_rows: The users' rows in the vocabulary. (B,)
    """

    users: FeatureBatch
    targets: Jagged
    others: Jagged
    user_rows: Tensor


@dataclass
class NextItemBatch(_Movable):
    """Windows of histories: after each item of a window, the one that came next is to be found.

    Args:
        users: The B users' history, which is the window: B rows, T values, oldest first; and no other feature.
        targets: The item row that came after each of them. (T,)
    """

    users: FeatureBatch
    targets: Tensor


@dataclass
class RankingBatch(_Movable):
    """Examples that were taken or not.

    Args:
        features: The features of B examples: of the user, the item and the context together.
        labels: 1 for taken, 0 for not. (B,) float32
    """

    features: FeatureBatch
    labels: Tensor


@dataclass(frozen=True)
class JaggedArray:
    """Many rows of different lengths on the host: values and offsets, so that a batch of rows is a slice.

    Args:
        values: All values, first row first. (nnz,) int64
        offsets: Where each row starts, and the end of the last. (n + 1,) int64
        times: When each value happened, where that is told. (nnz,) int64

    Example:
        >>> rows = JaggedArray(np.array([7, 8, 9]), np.array([0, 2, 2, 3]))
        >>> rows.take(np.array([2, 0])).values.tolist(), rows.lengths.tolist()
        ([9, 7, 8], [2, 0, 1])
    """

    values: np.ndarray
    offsets: np.ndarray
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"JaggedArray({len(self):,} rows, {len(self.values):,} values{'' if self.times is None else ', timed'})"

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64"""
        return np.diff(self.offsets)

    def row(self, index: int) -> np.ndarray:
        """The values of one row, a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def positions(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the values of `rows` stand, end to end, and each row's length."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        ends = np.cumsum(lengths)
        # position j of the output is start of its row + (j - where its row starts in the output)
        return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0), lengths

    def last(self, most: int) -> JaggedArray:
        """At most the last `most` values of each row; 0 keeps all.

        Example:
            >>> JaggedArray(np.array([7, 8, 9]), np.array([0, 2, 3])).last(1).values.tolist()
            [8, 9]
        """
        if not most or not (self.lengths > most).any():
            return self
        from_end = np.repeat(self.offsets[1:], self.lengths) - np.arange(len(self.values))
        lengths = np.minimum(self.lengths, most)
        return self._picked(from_end <= most, lengths)

    def only(self, chosen: np.ndarray) -> JaggedArray:
        """The same rows without the values that are not chosen. (nnz,) bool

        Example:
            >>> rows = JaggedArray(np.array([7, 8, 9]), np.array([0, 2, 3]))
            >>> rows.only(np.array([False, True, False])).offsets.tolist()
            [0, 1, 1]
        """
        offsets = np.concatenate([[0], np.cumsum(chosen)])[self.offsets]
        return JaggedArray(self.values[chosen], offsets, None if self.times is None else self.times[chosen])

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """How many values the given rows have. (m,) -> (m,) int64"""
        return self.offsets[rows + 1] - self.offsets[rows]

    def distinct(self) -> JaggedArray:
        """Each row's values once, ascending; the same array where none is there twice."""
        values = self.values[self.offsets[0] : self.offsets[-1]]
        if not len(values):
            return self
        base = int(values.max()) + 1
        keys = np.unique(np.repeat(np.arange(len(self)), self.lengths) * base + values)
        return self if len(keys) == len(values) else JaggedArray.from_pairs(keys // base, keys % base, len(self))

    def rows(self, rows: np.ndarray) -> JaggedArray:
        """The given rows, in the given order, as an array of their own."""
        return self._picked(*self.positions(rows))

    def take(self, rows: np.ndarray) -> Jagged:
        """The given rows, in the given order, as tensors."""
        return self.rows(rows).tensors()

    def tensors(self) -> Jagged:
        """All rows, as tensors."""
        times = None if self.times is None else torch.from_numpy(self.times)
        return Jagged(torch.from_numpy(self.values), torch.from_numpy(self.lengths), times)

    def _picked(self, which: np.ndarray, lengths: np.ndarray) -> JaggedArray:
        """Some of the values, which make rows of the given lengths."""
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return JaggedArray(self.values[which], offsets, None if self.times is None else self.times[which])

    @classmethod
    def from_pairs(cls, rows: np.ndarray, values: np.ndarray, n_rows: int) -> JaggedArray:
        """Groups (row, value) pairs by row; the order inside a row is the order of the pairs.

        Args:
            rows: (nnz,) integers in [0, n_rows)
            values: (nnz,)
            n_rows: How many rows there are, empty ones included.
        """
        offsets = np.zeros(n_rows + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=n_rows), out=offsets[1:])
        if len(rows) and (np.diff(rows) < 0).any():
            values = values[np.argsort(rows, kind="stable")]
        return cls(np.ascontiguousarray(values), offsets)
