"""Next-item recommenders: what came last, and before, becomes a vector whose inner product finds what comes next.

One model is an item encoder, a backbone over the places of a history, and a head: the items' own vectors. A history is
jagged, oldest first. A place's vector has seen that place and those before it, so that every place of a training
history is an example.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from features.batches import FeatureBatch, Jagged
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import FeatureSchema
from features.vocabulary import Vocabulary
from recsys.catalogue import Catalogue
from recsys.embeddings import Embeddings, FeatureLookup
from recsys.fusion import text_of
from recsys.item_encoder import ItemEncoder
from recsys.layers.blocks import HSTULayer, LiGRLayer, SASRecLayer
from recsys.layers.padded import PaddedGroups
from recsys.sequential_config import SequentialConfig, item_features


class Hidden(NamedTuple):
    """Items of histories that a model is not to see.

    Args:
        places: Where they stand. (T,) bool
        vector: What stands there instead. (D,)
    """

    places: Tensor
    vector: Tensor


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
        assert schema.history is not None  # or there would be no features
        self.history = schema.history.name
        if config.times != "none" and not schema.history.timed:
            raise InputError(
                f"model.times is {config.times!r}, and the sequence feature {self.history!r} is not declared with "
                "`timed: true`, so no model would be told a time; declare it, or set model.times=none"
            )
        declared = text_of(config.fusion, schema)
        text = declared if config.fusion.reads_text else None
        self.catalogue = Catalogue(items, [one.name for one in (*features, text) if one is not None])

        candidates = {feature.name: feature.name for feature in features}
        inputs = candidates if config.tie else {name: f"{self.history}.{name}" for name in candidates}
        embedded = [feature.name for feature in features if feature.embedded]
        lookups = {
            own: FeatureLookup(own, own) for names in (candidates, inputs) for own in map(names.__getitem__, embedded)
        }
        identities = {names[name]: vocabularies[name] for names in (candidates, inputs) for name in embedded}
        plan = config.fusion.narrowed(config.embeddings, config.dim)
        self.embeddings = Embeddings(plan, list(lookups.values()), identities, backend)
        widths = {name: self.embeddings.widths[name] for name in embedded}

        def encoder(names: Mapping[str, str]) -> ItemEncoder:
            return ItemEncoder(features, widths, config.dim, config.combine, names, text, config.fusion)

        self.item_encoder = encoder(candidates)
        if not config.tie:
            self.input_encoder = encoder(inputs)

        self.positions = nn.Embedding(config.max_length, config.dim) if config.positions else None
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        own = ("embeddings.", "item_encoder.fusion.", "input_encoder.fusion.")  # who know how they begin
        for name, weight in self.named_parameters():
            if weight.dim() == 2 and not name.startswith(own) and not name.endswith("_bias"):
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
        vectors = self.hidden(history, users.asked_at)  # (T, D)
        if not len(vectors):
            return vectors.new_zeros(len(lengths), self.dim)
        last = (lengths.cumsum(0) - 1).clamp(min=0)
        return vectors[last] * (lengths > 0)[:, None]

    def hidden(self, history: Jagged, asked_at: Tensor | None = None, hide: Hidden | None = None) -> Tensor:
        """The vector of each place, from which the item after it is found. (B rows, T values) -> (T, D)

        Args:
            history: Item rows of the catalogue, oldest first, at most `max_length` a row.
            asked_at: When the item after each row's last is asked for; at once, where that is not told. (B,) int64
            hide: Items that are not to be seen; in training alone.
        """
        if not history.values.numel():
            # of several processes, the others wait for this one's look-up, and for a gradient, if only of 0
            one = history.lengths.new_ones(1)
            hide = None if hide is None else hide._replace(places=one.bool())
            return self.hidden(Jagged(one - 1, one, None if history.times is None else one), None, hide)[:0]
        groups = PaddedGroups.of(history.lengths)
        if self.config.times != "none" and history.times is not None:
            groups = groups.with_gaps(history.times, self._asked(history.times, history.lengths, asked_at))
        vectors = self._inputs(history.values)
        if hide is not None:
            vectors = torch.where(hide.places[:, None], hide.vector.to(vectors.dtype), vectors)
        if self.positions is not None:
            vectors = vectors + self.positions(_from_end(history))
        # tables start out as small as scores want them, and layers want more
        vectors = self.dropout(vectors * math.sqrt(self.dim))
        for layer in self.layers:
            vectors = layer(vectors, groups)
        return self.norm(vectors)

    def _inputs(self, rows: Tensor) -> Tensor:
        """The vectors of a history's items, each encoded once. (T,) -> (T, D)"""
        different, place = rows.unique(return_inverse=True)
        encoder = self.item_encoder if self.config.tie else self.input_encoder
        return embedding(place, encoder(self.embeddings, self.catalogue.take(different)))

    def _asked(self, times: Tensor, lengths: Tensor, asked_at: Tensor | None) -> Tensor:
        """When the item after each place is asked for. (T,)"""
        if self.config.times == "events" or not len(times):
            return times
        asked = times.roll(-1)
        last = lengths.cumsum(0)[lengths > 0] - 1
        asked[last] = times[last] if asked_at is None else asked_at[lengths > 0]
        return asked

    def _recent(self, history: Jagged) -> Jagged:
        """The end of each history, as long as the model reads."""
        most = self.config.max_length
        if not history.values.numel() or int(history.lengths.max()) <= most:
            return history
        kept = _from_end(history) < most
        times = None if history.times is None else history.times[kept]
        return Jagged(history.values[kept], history.lengths.clamp(max=most), times)


def _layer(config: SequentialConfig) -> nn.Module:
    if config.backbone == "hstu":
        return HSTULayer(config.dim, config.heads, config.max_length, config.dropout, config.times != "none")
    kind = {"sasrec": SASRecLayer, "ligr": LiGRLayer}[config.backbone]
    return kind(config.dim, config.heads, config.hidden, config.dropout)


def _from_end(history: Jagged) -> Tensor:
    """How far each place is from its row's last. (T,)"""
    ends = torch.repeat_interleave(history.lengths.cumsum(0), history.lengths, output_size=history.values.numel())
    return ends - 1 - torch.arange(history.values.numel(), device=ends.device)
