"""From an item's declared features to one vector: their embeddings, summed or side by side, and fused with its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from features.batches import FeatureBatch
from features.schema import Feature, Numeric, Vector
from recsys.embeddings import Embeddings
from recsys.fusion import TextFusion
from recsys.fusion_config import FusionConfig


class ItemEncoder(nn.Module):
    """The item side of a sequence model. A single embedding of width D is the vector as it is: a plain table of items.

    Args:
        features: Which declared features an item is made of.
        widths: Width E of each embedded feature.
        dim: D
        combine: "sum" of the embeddings, which must have one width; or "concat": side by side, then projected.
        names: What the look-ups call a feature, where that is not its name.
        text: The declared vector, where the model reads it.
        fusion: How it is taken in.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        widths: Mapping[str, int],
        dim: int,
        combine: Literal["sum", "concat"],
        names: Mapping[str, str],
        text: Vector | None,
        fusion: FusionConfig,
    ) -> None:
        super().__init__()
        self.text = None if text is None else text.name
        self.fusion = None if text is None else TextFusion(fusion, text.size, dim)
        self.names = {feature.name: names[feature.name] for feature in features if feature.embedded}
        self.dense = [feature.name for feature in features if isinstance(feature, Numeric)]
        self.combine = combine
        self.learns = fusion.learns_items
        if not self.learns:
            return
        each = [widths[name] for name in self.names]
        out, inputs = fusion.learned_width(dim), sum(each)
        if combine == "sum":
            inputs = each[0] if each else out
            self.numbers = nn.Linear(len(self.dense), inputs) if self.dense else None
        else:
            inputs += len(self.dense)
        alone = inputs == out and (combine == "sum" or len(each) + len(self.dense) == 1)
        self.project = nn.Identity() if alone else nn.Linear(inputs, out)

    def forward(self, embeddings: Embeddings, items: FeatureBatch) -> Tensor:
        """M items -> (M, D)"""
        learned = self._learned(embeddings, items) if self.learns else None
        if self.fusion is not None and self.text is not None:
            return self.fusion(learned, items.dense[self.text])
        assert learned is not None  # what has no text is learned
        return learned

    def _learned(self, embeddings: Embeddings, items: FeatureBatch) -> Tensor:
        """What ids and attributes come to. M items -> (M, E)"""
        sparse = {own: items.sparse[name] for name, own in self.names.items()}
        parts = list(embeddings(sparse).values()) if sparse else []
        numbers = torch.stack([items.dense[name] for name in self.dense], dim=1) if self.dense else None
        if self.combine == "concat":
            parts += [] if numbers is None else [numbers]
            return self.project(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0])
        parts += [] if numbers is None or self.numbers is None else [self.numbers(numbers)]
        return self.project(sum(parts[1:], parts[0]))
