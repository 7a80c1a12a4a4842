"""The declared features of a whole catalogue beside a model, so that items can be embedded where only rows are known.

A history is a list of item rows; a model that reads items by their attributes needs those of each row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from features.batches import FeatureBatch, Jagged
from features.feature_table import FeatureTable


class Catalogue(nn.Module):
    """Features of N items as buffers: they go where the model goes, and are not among its weights.

    Args:
        items: Features of the catalogue. (N rows)
        names: Which of them are wanted.

    Example:
        >>> import numpy as np
        >>> from features.batches import JaggedArray
        >>> genres = JaggedArray(np.array([4, 5, 6]), np.array([0, 2, 3]))
        >>> batch = Catalogue(FeatureTable({"genres": genres}, {}, 2), ["genres"]).take(torch.tensor([1, 0]))
        >>> batch.sparse["genres"].values.tolist(), batch.sparse["genres"].lengths.tolist()
        ([6, 4, 5], [1, 2])
    """

    def __init__(self, items: FeatureTable, names: Sequence[str]) -> None:
        super().__init__()
        self.size = items.size
        self._sparse: dict[str, tuple[str, str | None]] = {}
        self._dense: dict[str, str] = {}
        for n, name in enumerate(names):
            if name in items.dense:
                self._dense[name] = f"_numbers_{n}"
                self.register_buffer(f"_numbers_{n}", torch.from_numpy(items.dense[name]), persistent=False)
                continue
            jagged = items.sparse[name]
            self.register_buffer(f"_values_{n}", torch.from_numpy(jagged.values), persistent=False)
            self._sparse[name] = (f"_values_{n}", None)
            if not (jagged.lengths == 1).all():
                self.register_buffer(f"_offsets_{n}", torch.from_numpy(jagged.offsets), persistent=False)
                self._sparse[name] = (f"_values_{n}", f"_offsets_{n}")

    def __len__(self) -> int:
        return self.size

    def take(self, rows: Tensor) -> FeatureBatch:
        """The features of the given items, in the given order. (M,) int64 -> M rows"""
        sparse = {}
        for name, (values, offsets) in self._sparse.items():
            if offsets is None:  # one value an item, as ids have
                sparse[name] = Jagged(getattr(self, values)[rows], torch.ones_like(rows))
                continue
            starts = getattr(self, offsets)[rows]
            lengths = getattr(self, offsets)[rows + 1] - starts
            ends = lengths.cumsum(0)
            at = torch.repeat_interleave(starts - (ends - lengths), lengths)
            sparse[name] = Jagged(getattr(self, values)[at + torch.arange(len(at), device=rows.device)], lengths)
        return FeatureBatch(sparse, {name: getattr(self, own)[rows] for name, own in self._dense.items()}, len(rows))
