"""Two-tower retrieval: users and items become vectors whose inner product says how well they go together.

The item tower never sees the user, so that all item vectors can be computed once and searched by an index (Covington
et al., 'Deep Neural Networks for YouTube Recommendations', RecSys 2016; Yi et al., RecSys 2019).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from features.batches import FeatureBatch
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Feature, FeatureSchema, Id, Numeric, Sequence
from features.vocabulary import Vocabulary
from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup
from recsys.fusion import HistoryTexts, TextFusion, text_of
from recsys.fusion_config import FusionConfig


@dataclass(frozen=True)
class TwoTowerConfig:
    """What a two-tower model looks like.

    Args:
        dim: Width D of the vectors, without the item bias.
        user_hidden: Widths of the user tower's hidden layers; empty for one linear layer.
        item_hidden: The same for the item tower.
        dropout: Share of a tower's inputs that training zeroes.
        similarity: "dot", or "cosine": vectors of unit length, the users' then divided by a learned temperature.
        temperature: Of "cosine": where the learned temperature starts.
        item_bias: Adds a learned number to each item's score. It is one more dimension of the item's vector, against
            a constant 1 in the user's, so that it is still an inner product.
        tie_history: An item has the same embedding in a history as in the item tower. Apart, they are twice the
            parameters, and what an item says of a user may differ from what it is as a candidate.
        history_pooling: How the history's item embeddings become one: "mean", "sqrt" or "sum".
        fusion: How the items' declared vector, such as the embedding of a text, is taken in: by the item tower's own
            vector, and as the mean of the history's texts beside what else the user tower reads.
        new_item_scale: What the vectors of items that training has not seen are multiplied by when items are ranked.
            Nothing that is trained says how often what is new is wanted: above 1 it comes up more often, in place of
            what is known.
        embeddings: How features are embedded.
    """

    dim: int = 64
    user_hidden: tuple[int, ...] = ()
    item_hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    similarity: Literal["dot", "cosine"] = "cosine"
    temperature: float = 0.1
    item_bias: bool = False
    tie_history: bool = False
    history_pooling: Literal["mean", "sqrt", "sum"] = "sqrt"
    fusion: FusionConfig = field(default_factory=FusionConfig)
    new_item_scale: float = 1.0
    embeddings: EmbeddingPlan = field(default_factory=EmbeddingPlan)

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise InputError(f"model.dim is at least 1, got {self.dim}")
        for name in ("user_hidden", "item_hidden"):
            if any(width < 1 for width in getattr(self, name)):
                raise InputError(f"model.{name} has widths of at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is in [0, 1), got {self.dropout}")
        if self.similarity not in ("dot", "cosine"):
            raise InputError(f"model.similarity is {self.similarity!r}, not 'dot' or 'cosine'")
        if not self.temperature > 0:
            raise InputError(f"model.temperature is a positive number, got {self.temperature}")
        if not 0 < self.new_item_scale < float("inf"):
            raise InputError(f"model.new_item_scale is a positive number, got {self.new_item_scale}")
        self.fusion.learned_width(self.dim)
        if self.item_bias and not self.fusion.learns_items:
            raise InputError(f"model.item_bias is learned for items, and model.fusion.kind {self.fusion.kind!r} is not")

    def to_json(self) -> dict[str, Any]:
        """As plain dictionaries and lists; see `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TwoTowerConfig:
        """The inverse of `to_json`."""
        data = dict(data)
        data["embeddings"] = EmbeddingPlan(**data["embeddings"])
        data["fusion"] = FusionConfig.from_json(data.get("fusion"))
        for hidden in ("user_hidden", "item_hidden"):
            data[hidden] = tuple(data[hidden])
        return cls(**data)


class Tower(nn.Module):
    """Embeddings and numbers of one side, concatenated, through a small perceptron. (B, ...) -> (B, D)

    Args:
        features: The side's features.
        widths: Width E of each embedded feature.
        hidden: Widths of the hidden layers.
        out: D
        dropout: Share of the inputs that training zeroes.
        others: How many inputs there are besides.
    """

    def __init__(
        self,
        features: list[Feature],
        widths: Mapping[str, int],
        hidden: tuple[int, ...],
        out: int,
        dropout: float,
        others: int = 0,
    ) -> None:
        super().__init__()
        self.sparse = [feature.name for feature in features if feature.embedded]
        self.dense = [feature.name for feature in features if isinstance(feature, Numeric)]
        inputs = sum(widths[name] for name in self.sparse) + len(self.dense) + others
        layers: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
        for width, following in itertools.pairwise([inputs, *hidden]):
            layers += [nn.Linear(width, following), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Linear([inputs, *hidden][-1], out))

    def forward(self, embeddings: Embeddings, batch: FeatureBatch, *others: Tensor) -> Tensor:
        """B users or items, and what else is known of them, (B, n) each -> (B, D)"""
        inputs = [embeddings.joined({name: batch.sparse[name] for name in self.sparse})] if self.sparse else []
        inputs += [batch.dense[name][:, None] for name in self.dense]
        inputs += others
        return self.layers(torch.cat(inputs, dim=1) if len(inputs) > 1 else inputs[0])


class TwoTower(nn.Module):
    """Two towers over declared features and one set of tables.

    Args:
        config: What it looks like.
        schema: The declared features; those of kind text are left out.
        vocabularies: For each id, categorical and multi-valued feature its vocabulary.
        items: The features of the whole catalogue, which a model that reads texts needs. (N rows)
        backend: "torch" for serving, "torchrec" or "sharded" for training: see `recsys.embeddings.Embeddings`.
    """

    def __init__(
        self,
        config: TwoTowerConfig,
        schema: FeatureSchema,
        vocabularies: Mapping[str, Vocabulary],
        items: FeatureTable | None = None,
        backend: Literal["torch", "torchrec", "sharded"] = "torch",
    ) -> None:
        super().__init__()
        self.config = config
        declared = text_of(config.fusion, schema)
        text = declared if config.fusion.reads_text else None
        user = [feature for feature in schema.user if feature.embedded or isinstance(feature, Numeric)]
        item = [feature for feature in schema.item if feature.embedded or isinstance(feature, Numeric)]
        item_id = next((feature.name for feature in item if isinstance(feature, Id)), None)
        if not config.fusion.learns_items:
            item = []
        for side, features in (("user", user), ("item", item)):
            if not features and (side == "user" or config.fusion.learns_items):
                raise InputError(f"a two-tower model needs at least one {side} feature that is not text")
        if schema.history is not None and item_id is None:
            raise InputError(f"the sequence {schema.history.name!r} needs an item feature of kind 'id'")
        lookups: list[FeatureLookup] = []
        identities: dict[str, Vocabulary] = {}
        for feature in (*item, *user):
            if not feature.embedded:
                continue
            if isinstance(feature, Sequence):
                assert item_id is not None  # or the sequence was refused
                identity = item_id if config.tie_history else feature.name
                lookups.append(FeatureLookup(feature.name, identity, config.history_pooling, unknowns=False))
                identities[identity] = vocabularies[item_id]
            else:
                lookups.append(FeatureLookup(feature.name, feature.name))
                identities[feature.name] = vocabularies[feature.name]
        self.embeddings = Embeddings(config.embeddings, lookups, identities, backend)
        widths = self.embeddings.widths
        self.text = None if text is None else text.name
        self.fusion = None if text is None else TextFusion(config.fusion, text.size, config.dim)
        self.history_texts, others = None, 0
        if text is not None and schema.history is not None:
            if items is None:
                raise InputError(f"model.fusion.kind {config.fusion.kind!r} reads items' texts: give the items, too")
            self.history_texts, others = HistoryTexts(schema.history, text, items), text.size
        self.user_tower = Tower(user, widths, config.user_hidden, config.dim, config.dropout, others)
        if config.fusion.learns_items:
            out = config.fusion.learned_width(config.dim) + config.item_bias
            self.item_tower = Tower(item, widths, config.item_hidden, out, config.dropout)
        if config.similarity == "cosine":
            self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    @property
    def dim(self) -> int:
        """Width of the vectors that `encode_users` and `encode_items` give, the item bias included."""
        return self.config.dim + self.config.item_bias

    def encode_users(self, users: FeatureBatch) -> Tensor:
        """Declared features of B users -> (B, D)"""
        others = () if self.history_texts is None else (self.history_texts(users),)
        vectors = self.user_tower(self.embeddings, users, *others)
        if self.config.similarity == "cosine":
            vectors = nn.functional.normalize(vectors, dim=1) * self.log_scale.exp()
        if self.config.item_bias:
            vectors = torch.cat([vectors, vectors.new_ones(len(vectors), 1)], dim=1)
        return vectors

    def encode_items(self, items: FeatureBatch) -> Tensor:
        """Declared features of B items -> (B, D)"""
        vectors = self.item_tower(self.embeddings, items) if self.config.fusion.learns_items else None
        if self.fusion is not None and self.text is not None:
            vectors = self._fused(self.fusion, vectors, items.dense[self.text])
        assert vectors is not None  # what has no text is learned
        if self.config.similarity == "cosine":
            dim = self.config.dim
            vectors = torch.cat([nn.functional.normalize(vectors[:, :dim], dim=1), vectors[:, dim:]], dim=1)
        return vectors

    def _fused(self, fusion: TextFusion, learned: Tensor | None, text: Tensor) -> Tensor:
        """With the items' texts, a bias left as it is. (B, E + bias), (B, V) -> (B, D + bias)"""
        if learned is None or not self.config.item_bias:
            return fusion(learned, text)
        return torch.cat([fusion(learned[:, :-1], text), learned[:, -1:]], dim=1)
