"""Ranking: how likely one user takes one item, from the declared features of both, by DCN-V2.

Unlike a two-tower model it sees user and item together, so it can tell what goes with what, and must be asked for each
pair: it orders a few hundred candidates, or predicts a click.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from features.batches import FeatureBatch
from features.errors import InputError
from features.schema import Feature, Numeric, Sequence
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup
from recsys.layers import CrossLayers


@dataclass(frozen=True)
class RankerConfig:
    """What a ranker looks like.

    Args:
        cross_layers: How many cross layers; 0 for a plain perceptron.
        hidden: Widths of the hidden layers that follow; empty for none.
        dropout: Share of each hidden layer's outputs that training zeroes.
        embedding_dropout: Share of the embeddings' numbers that training zeroes.
        embeddings: How features are embedded.
    """

    cross_layers: int = 1
    hidden: tuple[int, ...] = (192,)
    dropout: float = 0.0
    embedding_dropout: float = 0.0
    embeddings: EmbeddingPlan = field(default_factory=EmbeddingPlan)

    def __post_init__(self) -> None:
        if self.cross_layers < 0:
            raise InputError(f"model.cross_layers is 0 or more, got {self.cross_layers}")
        if any(width < 1 for width in self.hidden):
            raise InputError(f"model.hidden has widths of at least 1, got {self.hidden}")
        for name in ("dropout", "embedding_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"model.{name} is in [0, 1), got {getattr(self, name)}")

    def to_json(self) -> dict[str, Any]:
        """As plain dictionaries and lists; see `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RankerConfig:
        """The inverse of `to_json`."""
        return cls(**{**data, "hidden": tuple(data["hidden"]), "embeddings": EmbeddingPlan(**data["embeddings"])})


class Ranker(nn.Module):
    """DCN-V2, stacked: embeddings and numbers, cross layers, a ReLU perceptron, one logit (Wang et al., WWW 2021).

    Neither batch normalisation nor, by default, dropout: on the data sets of Unified Embedding's comparison they cost
    half a point to a point of AUC.

    Args:
        config: What it looks like.
        features: The declared features of users, items and context, in one namespace; those of kind text are left out.
        vocabularies: The vocabulary of each embedded feature; of a sequence, that of the item ids.
        backend: "torch" for serving, "torchrec" or "sharded" for training: see `recsys.embeddings.Embeddings`.

    Raises:
        InputError: No feature to rank by, one declared twice, or one without a vocabulary.
    """

    def __init__(
        self,
        config: RankerConfig,
        features: Iterable[Feature],
        vocabularies: Mapping[str, Vocabulary],
        backend: Literal["torch", "torchrec", "sharded"] = "torch",
    ) -> None:
        super().__init__()
        self.config = config
        features = tuple(features)
        names = [feature.name for feature in features]
        for feature in features:
            if names.count(feature.name) > 1:
                raise InputError(f"the ranker's feature {feature.name!r} is declared {names.count(feature.name)} times")
            if feature.embedded and feature.name not in vocabularies:
                raise InputError(f"the ranker's feature {feature.name!r} has no vocabulary")
        self.sparse = [feature.name for feature in features if feature.embedded]
        self.dense = [feature.name for feature in features if isinstance(feature, Numeric)]
        if not self.sparse and not self.dense:
            raise InputError("a ranker needs at least one feature that is not text")
        if self.sparse:
            lookups = [_lookup(feature) for feature in features if feature.embedded]
            of_each = {name: vocabularies[name] for name in self.sparse}
            self.embeddings = Embeddings(config.embeddings, lookups, of_each, backend)
        self.embedded_width = sum(self.embeddings.widths[name] for name in self.sparse) if self.sparse else 0
        width = self.embedded_width + len(self.dense)
        self.cross = CrossLayers(width, config.cross_layers)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([width, *config.hidden]):
            layers += [nn.Linear(before, after), nn.ReLU()]
            layers += [nn.Dropout(config.dropout)] if config.dropout else []
        self.deep = nn.Sequential(*layers)
        self.logit = nn.Linear([width, *config.hidden][-1], 1)

    def inputs(self, batch: FeatureBatch) -> Tensor:
        """Embeddings, then numbers, in the declared order. (B, E of all features + numbers)"""
        parts = [self.embeddings.joined({name: batch.sparse[name] for name in self.sparse})] if self.sparse else []
        return torch.cat([*parts, *(batch.dense[name][:, None] for name in self.dense)], dim=1)

    def score(self, inputs: Tensor) -> Tensor:
        """What `inputs` gives -> logits (B,)"""
        if self.config.embedding_dropout and self.training:
            embedded, numbers = inputs.tensor_split([self.embedded_width], dim=1)
            embedded = nn.functional.dropout(embedded, self.config.embedding_dropout)
            inputs = torch.cat([embedded, numbers], dim=1)
        return self.logit(self.deep(self.cross(inputs))).squeeze(1)

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Features of B examples, users', items' and context's together -> the log odds of a positive (B,)"""
        return self.score(self.inputs(batch))


def _lookup(feature: Feature) -> FeatureLookup:
    if isinstance(feature, Sequence):
        return FeatureLookup(feature.name, feature.name, "sqrt", unknowns=False)
    return FeatureLookup(feature.name, feature.name)
