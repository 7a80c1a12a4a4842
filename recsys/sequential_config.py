"""What a sequential model looks like, and which declared features its items are made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from features.errors import InputError
from features.schema import Categorical, Feature, FeatureSchema, Id, MultiValued, Numeric
from recsys.embeddings import EmbeddingPlan
from recsys.fusion_config import FusionConfig

BACKBONES = ("sasrec", "ligr", "hstu")
TIMES = ("none", "events", "request")
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
        times: Of "hstu": a learned bias for the time that has passed since each item; the declared history must be
            timed. "events" counts it to the latest item, so that nothing is known that a history does not say;
            "request" counts it to the moment when the next item is asked for: in training when it came, when serving
            what the request says. A model that knows when somebody comes back ranks better; only compare such models
            with each other.
        items: What an item is made of: its "id", its declared "attributes" (so that a new item with known attributes
            has a vector at once, and ids never seen in training cost nothing), or "all" of them.
        combine: Several embeddings of an item are added ("sum") or stand side by side and are projected ("concat").
        tie: An item has the same vector in a history as where it is searched for. Apart, they are twice the parameters.
        also_predict: Categorical or multi-valued item features that the model learns to predict of the next item
            besides (M2TRec, Shalaby et al., RecSys 2022). What predicts them is training's, and no part of the model.
        also_predict_weight: Weight of each such loss, a cross-entropy in nats; the next item's loss has 1. Beside "bce"
            and "gbce", which divide by k + 1, the same weight is worth more.
        fusion: How the items' declared vector, such as the embedding of a text, is taken in.
        new_item_scale: What the vectors of items that training has not seen are multiplied by when items are ranked.
            Nothing that is trained says how often what is new is wanted: above 1 it comes up more often, in place of
            what is known.
        embeddings: How features are embedded. Two look-ups at least where ids are hashed: with one, items that collide
            are the same to a sequence model.
    """

    backbone: Literal["sasrec", "ligr", "hstu"] = "hstu"
    dim: int = 64
    layers: int = 4
    heads: int = 2
    hidden: int = 4
    dropout: float = 0.2
    max_length: int = 200
    positions: bool = True
    times: Literal["none", "events", "request"] = "none"
    items: Literal["id", "attributes", "all"] = "id"
    combine: Literal["sum", "concat"] = "sum"
    tie: bool = True
    also_predict: tuple[str, ...] = ()
    also_predict_weight: float = 0.1
    fusion: FusionConfig = field(default_factory=FusionConfig)
    new_item_scale: float = 1.0
    embeddings: EmbeddingPlan = field(default_factory=lambda: EmbeddingPlan(kind="collisionless"))

    #: how vectors are compared
    similarity: ClassVar[str] = "dot"

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "hidden", "max_length"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is at least 1, got {getattr(self, name)}")
        if self.dim % self.heads:
            raise InputError(f"model.dim {self.dim} is not a multiple of model.heads {self.heads}")
        choices = {"backbone": BACKBONES, "times": TIMES, "items": ITEMS, "combine": ("sum", "concat")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"model.{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}")
        if self.times != "none" and self.backbone != "hstu":
            raise InputError(f"model.times is {self.times!r}, which the backbone 'hstu' has alone")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is in [0, 1), got {self.dropout}")
        if not 0 <= self.also_predict_weight < float("inf"):
            raise InputError(f"model.also_predict_weight is 0 or more, got {self.also_predict_weight}")
        if not 0 < self.new_item_scale < float("inf"):
            raise InputError(f"model.new_item_scale is a positive number, got {self.new_item_scale}")
        self.fusion.learned_width(self.dim)
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
                "fusion": FusionConfig.from_json(data.get("fusion")),
                "embeddings": EmbeddingPlan(**data["embeddings"]),
                "also_predict": tuple(data["also_predict"]),
            }
        )


def item_features(config: SequentialConfig, schema: FeatureSchema) -> list[Feature]:
    """The declared features that an item is made of, its vector apart.

    Raises:
        InputError: No history is declared, or nothing of what `config.items` names.
    """
    if schema.history is None:
        raise InputError("a sequential model needs a user feature of kind 'sequence'; none is declared")
    if not config.fusion.learns_items:
        return []
    usable = [feature for feature in schema.item if isinstance(feature, Id | Categorical | MultiValued | Numeric)]
    chosen: list[Feature] = [
        feature for feature in usable if config.items == "all" or (config.items == "id") == isinstance(feature, Id)
    ]
    if not chosen:
        wanted = {"id": "an item feature of kind 'id'", "attributes": "an item feature that is neither id nor text"}
        raise InputError(
            f"model.items is {config.items!r}, and {wanted.get(config.items, 'an item feature')} is not declared"
        )
    return chosen
