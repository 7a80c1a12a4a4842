"""What an item's vector of text adds to its id and attributes: one interface, so that one word compares the ways.

- *add*: the text, projected, is added to what is learned for the item.
- *concat*: both stand side by side, and are projected together.
- *alphafuse*: the text is whitened and frozen, and what is learned for the item goes into the dimensions where the text
  says least (Hu et al., 'AlphaFuse: Learn ID Embeddings for Sequential Recommendation in Null Space of Language
  Embeddings', SIGIR 2025).
- *whitened*: the whitened text, frozen, and nothing else (Zhang et al., 'Are ID Embeddings Necessary? Whitening
  Pre-trained Text Embeddings for Effective Sequential Recommendation', ICDE 2024).
- *text*: the text, projected, and nothing else.
- *none*: the text is not read.

Texts in a language model's space lie in a narrow cone, so they are standardised first: centred and scaled, or whitened.
Mean and directions are those of the items that training sees (`fit_texts`); they are buffers, so that a new item's
text is read as the others were. An item without text has a vector of zeros, and stands where the mean does.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from features.batches import FeatureBatch
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import FeatureSchema, Sequence, Vector
from recsys.embeddings import EmbeddingPlan
from recsys.whitening import Standardised, Whitening

KINDS = ("none", "add", "concat", "alphafuse", "whitened", "text")
ALIGNMENTS = ("none", "con", "gen")

#: how long the texts' vectors are when training starts: ids start shorter still, and scores grow as they need to
_LENGTH = 1.0


@dataclass(frozen=True)
class FusionConfig:
    """How the items' declared vector (a feature of kind "vector", such as the embedding of a text) is taken in.

    Args:
        kind: "none", "add", "concat", "alphafuse", "whitened" or "text": see the module.
        hidden: Of "add", "concat" and "text": widths of hidden layers between the text and its projection.
        learned: Of "alphafuse": how many of the D dimensions ids and attributes have, those that say least of the
            text; 0 for half of them.
        dropout: Share of the standardised text that training zeroes, where it is projected.
        align: Pulls what the model makes of items towards their text, in training alone: "con" or "gen" of RLMRec; see
            `recsys.losses.alignment`. Works beside any kind, "none" included.
        align_weight: Of that loss, in nats; the recommendation's loss has 1.
        align_temperature: Of its softmax.
        align_share: Of "gen" in a sequence model: share of a history's items that is hidden, and whose texts are to be
            told from what came before. (A two-tower model is to tell the texts of its targets.)
    """

    kind: Literal["none", "add", "concat", "alphafuse", "whitened", "text"] = "none"
    hidden: tuple[int, ...] = ()
    learned: int = 0
    dropout: float = 0.0
    align: Literal["none", "con", "gen"] = "none"
    align_weight: float = 0.1
    align_temperature: float = 0.2
    align_share: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"model.fusion.kind is {self.kind!r}, not one of {', '.join(KINDS)}")
        if self.align not in ALIGNMENTS:
            raise InputError(f"model.fusion.align is {self.align!r}, not one of {', '.join(ALIGNMENTS)}")
        if any(width < 1 for width in self.hidden):
            raise InputError(f"model.fusion.hidden has widths of at least 1, got {self.hidden}")
        if self.learned < 0:
            raise InputError(f"model.fusion.learned is 0 or more, got {self.learned}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.fusion.dropout is in [0, 1), got {self.dropout}")
        if not 0 <= self.align_weight < float("inf"):
            raise InputError(f"model.fusion.align_weight is 0 or more, got {self.align_weight}")
        if not 0 < self.align_temperature < float("inf"):
            raise InputError(f"model.fusion.align_temperature is a positive number, got {self.align_temperature}")
        if not 0 < self.align_share < 1:
            raise InputError(f"model.fusion.align_share is in (0, 1), got {self.align_share}")

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> FusionConfig:
        """From what `dataclasses.asdict` gave; bundles that were made before there was fusion have none."""
        return cls() if data is None else cls(**{**data, "hidden": tuple(data["hidden"])})

    @property
    def reads_text(self) -> bool:
        """Whether a model's vectors depend on the text."""
        return self.kind != "none"

    @property
    def learns_items(self) -> bool:
        """Whether they depend on ids and attributes."""
        return self.kind not in ("text", "whitened")

    def learned_width(self, dim: int) -> int:
        """Width of what is made of ids and attributes, of D dimensions in all.

        Raises:
            InputError: More are to be learned than there are.
        """
        if self.kind != "alphafuse":
            return dim
        if self.learned > dim:
            raise InputError(f"model.fusion.learned is {self.learned}, more than the model.dim of {dim}")
        return self.learned or max(1, dim // 2)

    def narrowed(self, plan: EmbeddingPlan, dim: int) -> EmbeddingPlan:
        """Embeddings as wide as what is learned, where they are declared as wide as the whole vector.

        Args:
            plan: The model's.
            dim: D
        """
        if plan.width != dim or plan.widths or self.kind != "alphafuse":
            return plan
        return dataclasses.replace(plan, width=self.learned_width(dim))


class TextFusion(nn.Module):
    """From what is learned for items, and their text, to one vector each.

    Args:
        config: How; its kind is not "none".
        size: Width V of the text's vectors.
        dim: D

    Example:
        >>> fusion = TextFusion(FusionConfig("alphafuse", learned=1), size=3, dim=2)
        >>> fusion.fit_texts(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0.1, 0], [0, -0.1, 0]], dtype=np.float32))
        >>> fusion(torch.tensor([[5.0]]), torch.zeros(1, 3)).tolist()  # no text: the mean, and what was learned
        [[0.0, 5.0]]
    """

    def __init__(self, config: FusionConfig, size: int, dim: int) -> None:
        super().__init__()
        self.config = config
        frozen = config.kind in ("alphafuse", "whitened")
        if frozen and size < dim:
            raise InputError(
                f"model.fusion.kind {config.kind!r} keeps model.dim {dim} directions of the text, which has {size} "
                "dimensions; take a smaller model.dim, or another kind"
            )
        self.text: Whitening | Standardised = Whitening(size, dim) if frozen else Standardised(size)
        if frozen:
            self.gain = nn.Parameter(torch.tensor(_LENGTH / dim**0.5))
            return
        layers: list[nn.Module] = [nn.Dropout(config.dropout)] if config.dropout else []
        for width, following in itertools.pairwise([size, *config.hidden]):
            layers += [nn.Linear(width, following), nn.GELU()]
        last = [size, *config.hidden][-1]
        inputs = last + (dim if config.kind == "concat" else 0)  # which projects both together
        self.project = nn.Sequential(*layers, nn.Linear(inputs, dim))
        nn.init.trunc_normal_(self.project[-1].weight, std=_LENGTH / (inputs * dim) ** 0.5)

    def fit_texts(self, vectors: np.ndarray) -> None:
        """Learns how texts are standardised; rows of zeros, which items without text have, do not count. (n, V)

        Raises:
            InputError: Fewer than two items have a text.
        """
        told = vectors[vectors.any(axis=1)]
        if len(told) < 2:
            raise InputError(
                f"model.fusion.kind is {self.config.kind!r}, and {len(told)} of the {len(vectors)} items that training "
                "sees have a text"
            )
        self.text.fit(told)

    def forward(self, learned: Tensor | None, text: Tensor) -> Tensor:
        """What is learned for M items, None for kinds without; and their texts. (M, E), (M, V) -> (M, D)"""
        kind = self.config.kind
        seen = self.text(text) * (text != 0).any(dim=1, keepdim=True)
        if kind in ("alphafuse", "whitened"):
            seen = seen * self.gain
            if kind == "whitened":
                return seen
            kept = seen.shape[1] - learned.shape[1]
            return torch.cat([seen[:, :kept], seen[:, kept:] + learned], dim=1)
        if kind == "concat":
            *layers, last = self.project
            for layer in layers:
                seen = layer(seen)
            return last(torch.cat([learned, seen], dim=1))
        seen = self.project(seen)
        return seen if kind == "text" else learned + seen


class HistoryTexts(nn.Module):
    """The mean of the texts of a history's items; 0 where none has one. B users -> (B, V)

    Args:
        history: The declared history.
        text: The items' declared vector.
        items: The features of the whole catalogue. (N rows)
    """

    def __init__(self, history: Sequence, text: Vector, items: FeatureTable) -> None:
        super().__init__()
        self.history = history.name
        self.text = Standardised(text.size)
        texts = torch.from_numpy(items.dense[text.name])
        self.register_buffer("texts", texts, persistent=False)  # (N, V)
        self.register_buffer("told", (texts != 0).any(dim=1).to(texts.dtype), persistent=False)  # (N,)

    def fit_texts(self, vectors: np.ndarray) -> None:
        """Learns how texts are standardised; rows of zeros do not count. (n, V)"""
        self.text.fit(vectors[vectors.any(axis=1)])

    def forward(self, users: FeatureBatch) -> Tensor:
        """B users -> (B, V)"""
        history = users.sparse[self.history]
        starts = history.lengths.cumsum(0) - history.lengths
        total = embedding_bag(history.values, self.texts, starts, mode="sum")
        count = embedding_bag(history.values, self.told[:, None], starts, mode="sum")
        return self.text(total / count.clamp(min=1)) * (count > 0)


def text_of(config: FusionConfig, schema: FeatureSchema) -> Vector | None:
    """The declared vector, if a model reads it.

    Raises:
        InputError: It is to be read, or aligned with, and none is declared.
    """
    if not config.reads_text and config.align == "none":
        return None
    if schema.vector is None:
        name, value = ("kind", config.kind) if config.reads_text else ("align", config.align)
        raise InputError(
            f"model.fusion.{name} is {value!r}, and no item feature of kind 'vector' is declared; text.columns names "
            "the columns that an item's text is made of"
        )
    return schema.vector


def fit_texts(model: nn.Module, vectors: np.ndarray) -> None:
    """Teaches a model what texts look like, before it is trained.

    Args:
        model: A retriever.
        vectors: The vectors of the items that training sees; zeros for an item without text. (n, V)
    """
    for module in model.modules():
        if isinstance(module, TextFusion | HistoryTexts):
            module.fit_texts(vectors)
