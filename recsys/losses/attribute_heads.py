"""Heads that predict attributes of the next item besides the item: M2TRec's multi-task learning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from features.batches import Jagged, JaggedArray
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Categorical, FeatureSchema, MultiValued
from features.vocabulary import Vocabulary
from recsys.catalogue import Catalogue
from recsys.losses.linear_cross_entropy import linear_cross_entropy


class AttributeHeads(nn.Module):
    """A linear softmax over the values of each attribute (Shalaby et al., 'M2TRec', RecSys 2022). (T, D) -> losses

    An attribute of several values is predicted as their uniform distribution. Next items of which an attribute is not
    known count nothing for it.

    Args:
        dim: D
        names: Item features to be predicted.
        schema: The declared features.
        vocabularies: Of the features.
        items: The features of the whole catalogue. (N rows)

    Raises:
        InputError: A name that is no categorical or multi-valued item feature.
    """

    first: Tensor

    def __init__(
        self,
        dim: int,
        names: Sequence[str],
        schema: FeatureSchema,
        vocabularies: Mapping[str, Vocabulary],
        items: FeatureTable,
    ) -> None:
        super().__init__()
        declared = {feature.name: feature for feature in schema.item}
        for name in names:
            if not isinstance(declared.get(name), Categorical | MultiValued):
                able = [one.name for one in schema.item if isinstance(one, Categorical | MultiValued)]
                raise InputError(
                    f"model.also_predict names {name!r}, which is no categorical or multi-valued item feature; those "
                    f"are: {', '.join(able) or 'none'}"
                )
        self.names = list(names)
        heads = [nn.Linear(dim, max(1, len(vocabularies[name]))) for name in self.names]
        for head in heads:
            nn.init.trunc_normal_(head.weight, std=0.02)
        self.heads = nn.ModuleList(heads)
        # without the values that the vocabulary does not have
        known = {name: items.sparse[name].only(items.sparse[name].values >= 0) for name in self.names}
        several = [name for name in self.names if (known[name].lengths > 1).any()]
        self.several = Catalogue(FeatureTable(known, {}, items.size), several)
        # each item's first value beside: what has one value at most is then read without waiting for a GPU
        first = np.stack([_first(known[name]) for name in self.names]) if self.names else np.empty((0, items.size), int)
        self.register_buffer("first", torch.from_numpy(first), persistent=False)  # (attributes, N)

    def forward(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Each attribute's cross-entropy in nats, summed over the next items of which it is known, and their number.

        The T x V logits of an attribute never exist at once.

        Args:
            hidden: The places' vectors. (T, D)
            targets: The item row that came after each. (T,)

        Returns:
            (attributes,), (attributes,)
        """
        asking = torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1)  # (T, D + 1), for the bias
        first = self.first[:, targets]
        several = self.several.take(targets).sparse
        totals = [
            self._total(asking, head, values, several.get(name))
            for name, head, values in zip(self.names, self.heads, first, strict=True)
        ]
        return torch.stack(totals), (first >= 0).sum(dim=1)

    @staticmethod
    def _total(asking: Tensor, head: nn.Module, first: Tensor, several: Jagged | None) -> Tensor:
        """One attribute's cross-entropy; `first` is a value of each, -1 for none. (T, D + 1), (T,) -> ()"""
        assert isinstance(head, nn.Linear)
        vectors = torch.cat([head.weight, head.bias[:, None]], dim=1)  # (V, D + 1)
        known = first >= 0
        # what asks with 0 has the loss log V whatever the weights, and no gradient: it is left out without a wait
        asking, first = asking * known[:, None], first.clamp(min=0)
        total = linear_cross_entropy(asking, vectors, first)
        total = total - math.log(len(vectors)) * (~known).sum(dtype=total.dtype)
        if several is None:
            return total
        starts = several.lengths.cumsum(0) - several.lengths
        mean = embedding_bag(several.values, vectors, starts, mode="mean")  # (T, D + 1)
        return total + (asking * (vectors.index_select(0, first) - mean)).sum()


def _first(values: JaggedArray) -> np.ndarray:
    """Each row's first value; -1 where there is none. (n,)"""
    first = np.full(len(values), -1)
    filled = values.lengths > 0
    first[filled] = values.values[values.offsets[:-1][filled]]
    return first
