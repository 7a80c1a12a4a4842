"""Embedding tables by plain torch: what serving uses, because TorchRec costs seconds to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from features.batches import Jagged
from recsys.embeddings.layout import TableShape


class _Table(nn.Module):
    def __init__(self, shape: TableShape, initial_range: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.rows, shape.width).uniform_(-initial_range, initial_range))


class _Pooled(nn.Module):
    def __init__(self, shapes: Sequence[TableShape], initial_range: float) -> None:
        super().__init__()
        self.embedding_bags = nn.ModuleDict({shape.name: _Table(shape, initial_range) for shape in shapes})


class _Sequence(nn.Module):
    def __init__(self, shapes: Sequence[TableShape], initial_range: float) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({shape.name: _Table(shape, initial_range) for shape in shapes})


class PlainTables(nn.Module):
    """Look-ups by plain torch. The state dictionary has the names of `TorchRecTables`.

    Args:
        shapes: The tables.
        initial_range: Weights start uniform in +- this.
    """

    def __init__(self, shapes: Sequence[TableShape], initial_range: float) -> None:
        super().__init__()
        self.shapes = list(shapes)
        pooled = [shape for shape in shapes if not shape.sequence]
        sequence = [shape for shape in shapes if shape.sequence]
        if pooled:
            self.pooled = _Pooled(pooled, initial_range)
        if sequence:
            self.sequence = _Sequence(sequence, initial_range)

    def forward(self, bags: Mapping[str, Jagged]) -> dict[str, Tensor]:
        """Looks up bags of table rows.

        Args:
            bags: Look-up name to table rows, jagged; any subset of the declared ones. (B rows each)

        Returns:
            Look-up name to the sum of its rows, zero for an empty bag (B, width of its table), or, for the look-ups of
            a sequence table, the rows themselves (T, width of its table).
        """
        found: dict[str, Tensor] = {}
        for shape in self.shapes:
            names = [name for name in shape.bags if name in bags]
            if not names:
                continue
            # one kernel call a table: the bags of all its look-ups, end to end
            values = torch.cat([bags[name].values for name in names])
            table = self._tables_like(shape)[shape.name]
            if shape.sequence:
                out = self._rows(table, values)  # (sum of T, width)
                sizes = [len(bags[name].values) for name in names]
            else:
                ends = torch.cat([bags[name].lengths for name in names]).cumsum(0)
                out = nn.functional.embedding_bag(
                    *self._to_sum(table, values),
                    torch.cat([ends.new_zeros(1), ends]),
                    mode="sum",
                    include_last_offset=True,
                )  # (len(names) * B, width)
                sizes = [len(bags[name]) for name in names]
            found.update(zip(names, out.split(sizes), strict=True))
        return found

    def _tables_like(self, shape: TableShape) -> nn.ModuleDict:
        return self.sequence.embeddings if shape.sequence else self.pooled.embedding_bags

    def _rows(self, table: Any, values: Tensor) -> Tensor:
        """The rows of a table. (T,) -> (T, width)"""
        return nn.functional.embedding(values, table.weight)

    def _to_sum(self, table: Any, values: Tensor) -> tuple[Tensor, Tensor]:
        """What to sum: places, and the vectors at those places. (T,) -> (T,), (any, width)"""
        return values, table.weight

    def matrix(self, bags: Mapping[str, Jagged]) -> Tensor:
        """Pooled look-ups side by side, in the order given. (B rows each) -> (B, sum of widths)"""
        found = self(bags)
        return torch.cat([found[name] for name in bags], dim=1)
