"""Embedding tables by plain torch: what serving uses, because TorchRec costs seconds to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from features.batches import Jagged


@dataclass(frozen=True)
class TableShape:
    """One table.

    Args:
        name: Of its weights in the state dictionary.
        rows: R
        width: Width of a row.
        bags: The look-ups that it answers, "feature/number".
    """

    name: str
    rows: int
    width: int
    bags: tuple[str, ...]


class _Table(nn.Module):
    def __init__(self, shape: TableShape, initial_range: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.rows, shape.width).uniform_(-initial_range, initial_range))


class PlainTables(nn.Module):
    """Sum-pooled look-ups. Its state dictionary has the names that TorchRec's EmbeddingBagCollection uses.

    Args:
        shapes: The tables.
        initial_range: Weights start uniform in +- this.
    """

    def __init__(self, shapes: Sequence[TableShape], initial_range: float) -> None:
        super().__init__()
        self.shapes = list(shapes)
        self.embedding_bags = nn.ModuleDict({shape.name: _Table(shape, initial_range) for shape in shapes})

    def forward(self, bags: Mapping[str, Jagged]) -> dict[str, Tensor]:
        """Looks up bags of table rows.

        Args:
            bags: Look-up name to table rows, jagged; any subset of the declared ones. (B rows each)

        Returns:
            Look-up name to the sum of its rows, zero for an empty bag. (B, width of its table)
        """
        pooled: dict[str, Tensor] = {}
        for shape in self.shapes:
            names = [name for name in shape.bags if name in bags]
            if not names:
                continue
            # one kernel call a table: the bags of all its look-ups, end to end
            lengths = torch.cat([bags[name].lengths for name in names])
            ends = lengths.cumsum(0)
            summed = nn.functional.embedding_bag(
                torch.cat([bags[name].values for name in names]),
                self.embedding_bags[shape.name].weight,
                torch.cat([ends.new_zeros(1), ends]),
                mode="sum",
                include_last_offset=True,
            )  # (len(names) * B, width)
            pooled.update(zip(names, summed.split([len(bags[name]) for name in names]), strict=True))
        return pooled
