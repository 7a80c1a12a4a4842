"""Heads that predict attributes of the next item besides the item: M2TRec's multi-task learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Categorical, FeatureSchema, MultiValued
from features.vocabulary import Vocabulary
from recsys.catalogue import Catalogue


class AttributeHeads(nn.Module):
    """A linear softmax over the values of each attribute (Shalaby et al., 'M2TRec', RecSys 2022). (T, D) -> loss

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
        self.catalogue = Catalogue(items, self.names)
        self.heads = nn.ModuleList(nn.Linear(dim, max(1, len(vocabularies[name]))) for name in self.names)

    def forward(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The sum over attributes of the mean cross-entropy, in nats.

        Args:
            hidden: The places' vectors. (T, D)
            targets: The item row that came after each. (T,)
        """
        total = hidden.new_zeros(())
        attributes = self.catalogue.take(targets).sparse
        for name, head in zip(self.names, self.heads, strict=True):
            values, place = attributes[name].values, attributes[name].row_of_value
            known = values >= 0
            values, place = values[known], place[known]
            share = torch.bincount(place, minlength=len(targets)).clamp(min=1).reciprocal()  # (T,)
            told = log_softmax(head(hidden).float(), dim=1)[place, values]
            total = total - (told * share[place]).sum() / max(1, int(place.unique().numel()))
        return total
