"""Next-item recommenders: what came last, and before, becomes a vector whose inner product finds what comes next.

One model is an item encoder, a backbone over the places of a history, and a head: the items' own vectors. A history is
jagged, oldest first. A place's vector has seen that place and those before it, so that every place of a training
history is an example.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from features.batches import FeatureBatch, Jagged
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import Categorical, Feature, FeatureSchema, Id, MultiValued, Numeric
from features.vocabulary import Vocabulary
from recsys.attribute_heads import AttributeHeads
from recsys.catalogue import Catalogue
from recsys.embeddings import EmbeddingPlan, Embeddings, FeatureLookup
from recsys.item_encoder import ItemEncoder
from recsys.layers.blocks import HSTULayer, LiGRLayer, SASRecLayer
from recsys.layers.padded import PaddedGroups

BACKBONES = ("sasrec", "ligr", "hstu")
ITEMS = ("id", "attributes", "all")


@dataclass(frozen=True)
class SequentialConfig:
    """What a sequential model looks like.

    Args:
        backbone: "sasrec", "ligr" or "hstu": see `recsys.layers.blocks`.
        dim: Width D of the vectors.
        layers: How many the backbone has.
        heads: Of each layer's attention; divides `dim`.
        hidden: Width of the feed-forward layers, as a multiple of D; "hstu" has none.
        dropout: Share that training zeroes, of the inputs and of what each layer adds.
        max_length: A history's last so many items are read.
        positions: Adds a learned vector for how far from the end of the history an item stands. "hstu" also learns the
            distance between two items.
        items: What an item is made of: its "id", its declared "attributes" (so that a new item with known attributes
            has a vector at once, and ids never seen in training cost nothing), or "all" of them.
        combine: Several embeddings of an item are added ("sum") or stand side by side and are projected ("concat").
        tie: An item has the same vector in a history as where it is searched for. Apart, they are twice the parameters.
        also_predict: Categorical or multi-valued item features that the model learns to predict of the next item
            besides (M2TRec, Shalaby et al., RecSys 2022).
        also_predict_weight: Weight of each such loss, the next item's being 1.
        embeddings: How features are embedded. Two look-ups at least where ids are hashed: with one, items that collide
            are the same to a sequence model.
    """

    backbone: Literal["sasrec", "ligr", "hstu"] = "hstu"
    dim: int = 64
    layers: int = 2
    heads: int = 2
    hidden: int = 4
    dropout: float = 0.2
    max_length: int = 200
    positions: bool = True
    items: Literal["id", "attributes", "all"] = "id"
    combine: Literal["sum", "concat"] = "sum"
    tie: bool = True
    also_predict: tuple[str, ...] = ()
    also_predict_weight: float = 0.1
    embeddings: EmbeddingPlan = field(default_factory=lambda: EmbeddingPlan(kind="collisionless"))

    #: how vectors are compared
    similarity: ClassVar[str] = "dot"

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "hidden", "max_length"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is at least 1, got {getattr(self, name)}")
        if self.dim % self.heads:
            raise InputError(f"model.dim {self.dim} is not a multiple of model.heads {self.heads}")
        for name, allowed in (("backbone", BACKBONES), ("items", ITEMS), ("combine", ("sum", "concat"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"model.{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is in [0, 1), got {self.dropout}")
        if not 0 <= self.also_predict_weight < float("inf"):
            raise InputError(f"model.also_predict_weight is 0 or more, got {self.also_predict_weight}")
        if self.combine == "sum" and len({self.embeddings.width, *self.embeddings.widths.values()}) > 1:
            raise InputError(
                "model.combine is 'sum', so all embeddings have one width, and model.embeddings.widths says others; "
                "leave it out, or combine by 'concat'"
            )

    def to_json(self) -> dict[str, Any]:
        """As plain dictionaries and lists; see `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SequentialConfig:
        """The inverse of `to_json`."""
        return cls(
            **{
                **data,
                "embeddings": EmbeddingPlan(**data["embeddings"]),
                "also_predict": tuple(data["also_predict"]),
            }
        )


class SequentialRecommender(nn.Module):
    """Predicts the next item of a history.

    Args:
        config: What it looks like.
        schema: The declared features: a history, and those of items that `config.items` names.
        vocabularies: For each id, categorical and multi-valued feature its vocabulary.
        items: The features of the whole catalogue. (N rows)
        backend: "torch" for serving, "torchrec" or "sharded" for training: see `recsys.embeddings.Embeddings`.
    """

    def __init__(
        self,
        config: SequentialConfig,
        schema: FeatureSchema,
        vocabularies: Mapping[str, Vocabulary],
        items: FeatureTable,
        backend: Literal["torch", "torchrec", "sharded"] = "torch",
    ) -> None:
        super().__init__()
        self.config = config
        features = item_features(config, schema)
        self.history = schema.history.name
        self.catalogue = Catalogue(items, [feature.name for feature in features])

        candidates = {feature.name: feature.name for feature in features}
        inputs = candidates if config.tie else {name: f"{self.history}.{name}" for name in candidates}
        embedded = [feature.name for feature in features if feature.embedded]
        lookups = {
            own: FeatureLookup(own, own) for names in (candidates, inputs) for own in map(names.__getitem__, embedded)
        }
        identities = {names[name]: vocabularies[name] for names in (candidates, inputs) for name in embedded}
        self.embeddings = Embeddings(config.embeddings, list(lookups.values()), identities, backend)
        widths = {name: self.embeddings.widths[name] for name in embedded}
        self.item_encoder = ItemEncoder(features, widths, config.dim, config.combine, candidates)
        if not config.tie:
            self.input_encoder = ItemEncoder(features, widths, config.dim, config.combine, inputs)

        self.positions = nn.Embedding(config.max_length, config.dim) if config.positions else None
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        self.attribute_heads = AttributeHeads(config.dim, config.also_predict, schema, vocabularies, items)
        for name, weight in self.named_parameters():
            if weight.dim() == 2 and not name.startswith("embeddings."):
                nn.init.trunc_normal_(weight, std=0.02)

    @property
    def dim(self) -> int:
        """Width of the vectors that `encode_users` and `encode_items` give."""
        return self.config.dim

    def encode_items(self, items: FeatureBatch) -> Tensor:
        """Declared features of M items -> (M, D)"""
        return self.item_encoder(self.embeddings, items)

    def encode_users(self, users: FeatureBatch) -> Tensor:
        """The vector of each history's last place; 0 for an empty history. B users -> (B, D)"""
        history = self._recent(users.sparse[self.history])
        lengths = history.lengths
        if not history.values.numel():
            return self.norm.weight.new_zeros(len(lengths), self.dim)
        last = (lengths.cumsum(0) - 1).clamp(min=0)
        return self.hidden(history)[last] * (lengths > 0)[:, None]

    def hidden(self, history: Jagged) -> Tensor:
        """The vector of each place, from which the item after it is found. (B rows, T values) -> (T, D)

        Args:
            history: Item rows of the catalogue, oldest first, at most `max_length` a row.
        """
        groups = PaddedGroups.of(history.lengths)
        vectors = self._inputs(history.values)
        if self.positions is not None:
            vectors = vectors + self.positions(_from_end(history))
        vectors = self.dropout(
            vectors * math.sqrt(self.dim)
        )  # else the weights of the layers would start out too large
        for layer in self.layers:
            vectors = layer(vectors, groups)
        return self.norm(vectors)

    def attribute_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """How badly the next items' attributes are predicted: see `recsys.attribute_heads`. (T, D), (T,) -> ()"""
        return self.attribute_heads(hidden, targets)

    def _inputs(self, rows: Tensor) -> Tensor:
        """The vectors of a history's items, each encoded once. (T,) -> (T, D)"""
        different, place = rows.unique(return_inverse=True)
        encoder = self.item_encoder if self.config.tie else self.input_encoder
        return embedding(place, encoder(self.embeddings, self.catalogue.take(different)))

    def _recent(self, history: Jagged) -> Jagged:
        """The end of each history, as long as the model reads."""
        most = self.config.max_length
        if not history.values.numel() or int(history.lengths.max()) <= most:
            return history
        return Jagged(history.values[_from_end(history) < most], history.lengths.clamp(max=most))


def item_features(config: SequentialConfig, schema: FeatureSchema) -> list[Feature]:
    """The declared features that an item is made of.

    Raises:
        InputError: No history is declared, or nothing of what `config.items` names.
    """
    if schema.history is None:
        raise InputError("a sequential model needs a user feature of kind 'sequence'; none is declared")
    usable = [feature for feature in schema.item if isinstance(feature, Id | Categorical | MultiValued | Numeric)]
    chosen = [
        feature for feature in usable if config.items == "all" or (config.items == "id") == isinstance(feature, Id)
    ]
    if not chosen:
        wanted = {"id": "an item feature of kind 'id'", "attributes": "an item feature that is neither id nor text"}
        raise InputError(
            f"model.items is {config.items!r}, and {wanted.get(config.items, 'an item feature')} is not declared"
        )
    return chosen


def _layer(config: SequentialConfig) -> nn.Module:
    if config.backbone == "hstu":
        return HSTULayer(config.dim, config.heads, config.max_length, config.dropout)
    kind = {"sasrec": SASRecLayer, "ligr": LiGRLayer}[config.backbone]
    return kind(config.dim, config.heads, config.hidden, config.dropout)


def _from_end(history: Jagged) -> Tensor:
    """How far each place is from its row's last. (T,)"""
    ends = torch.repeat_interleave(history.lengths.cumsum(0), history.lengths, output_size=history.values.numel())
    return ends - 1 - torch.arange(history.values.numel(), device=ends.device)
