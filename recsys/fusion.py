"""What an item's text adds to its id and attributes, and a history's texts to what else is known of a user.

Texts in a language model's space lie in a narrow cone, so they are standardised first: centred and scaled, or whitened.
Mean and directions are those of the items that training sees (`fit_texts`); they are buffers, so that a new item's
text is read as the others were. An item without text has a vector of zeros, and stands where the mean does.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from features.batches import FeatureBatch
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import FeatureSchema, Sequence, Vector
from recsys.fusion_config import FusionConfig
from recsys.whitening import Standardised, Whitening

#: how long the texts' vectors are when training starts: ids start shorter still, and scores grow as they need to
_LENGTH = 1.0


class TextFusion(nn.Module):
    """From what is learned for items, and their text, to one vector each.

    Args:
        config: How; its kind is not "none".
        size: Width V of the text's vectors.
        dim: D

    Raises:
        InputError: A text of fewer dimensions than are to be kept of it.

    Example:
        >>> fusion = TextFusion(FusionConfig("alphafuse", learned=1), size=3, dim=2)
        >>> fusion.text.fit(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 0.1, 0], [0, -0.1, 0]], dtype=np.float32))
        >>> fusion(torch.tensor([[5.0]]), torch.zeros(1, 3)).tolist()  # no text: the mean, and what was learned
        [[0.0, 5.0]]
    """

    def __init__(self, config: FusionConfig, size: int, dim: int) -> None:
        super().__init__()
        self.kind = config.kind
        self.text: Whitening | Standardised
        if config.frozen:
            if size < dim:
                raise InputError(
                    f"model.fusion.kind {config.kind!r} keeps model.dim {dim} directions of the text, which has {size} "
                    "dimensions; take a smaller model.dim, or another kind"
                )
            self.text = Whitening(size, dim)
            self.gain = nn.Parameter(torch.tensor(_LENGTH / dim**0.5))
            return
        self.text = Standardised(size)
        layers: list[nn.Module] = [nn.Dropout(config.dropout)] if config.dropout else []
        for width, following in itertools.pairwise([size, *config.hidden]):
            layers += [nn.Linear(width, following), nn.GELU()]
        self.layers = nn.Sequential(*layers)
        told = [size, *config.hidden][-1]
        learned = dim if config.kind == "concat" else 0
        self.project = nn.Linear(learned + told, dim)
        nn.init.trunc_normal_(self.project.weight, std=_LENGTH / (told * dim) ** 0.5)
        if learned:  # begins as the sum of both
            with torch.no_grad():
                self.project.weight[:, :learned] = torch.eye(dim)

    def forward(self, learned: Tensor | None, text: Tensor) -> Tensor:
        """What is learned for M items, None for kinds without; and their texts. (M, E), (M, V) -> (M, D)"""
        told = self.text(text)
        if self.kind == "whitened":
            return told * self.gain
        if self.kind == "text":
            return self.project(self.layers(told))
        assert learned is not None  # by all other kinds
        if self.kind == "alphafuse":
            told = told * self.gain
            kept = told.shape[1] - learned.shape[1]
            return torch.cat([told[:, :kept], told[:, kept:] + learned], dim=1)
        told = self.layers(told)
        if self.kind == "concat":
            return self.project(torch.cat([learned, told], dim=1))
        return learned + self.project(told)


class HistoryTexts(nn.Module):
    """The mean of the texts of a history's items; 0 where none has one. B users -> (B, V)

    Args:
        history: The declared history.
        text: The items' declared vector.
        items: The features of the whole catalogue. (N rows)
    """

    texts: Tensor
    told: Tensor

    def __init__(self, history: Sequence, text: Vector, items: FeatureTable) -> None:
        super().__init__()
        self.history = history.name
        self.text = Standardised(text.size)
        texts = torch.from_numpy(items.dense[text.name])
        self.register_buffer("texts", texts, persistent=False)  # (N, V)
        self.register_buffer("told", (texts != 0).any(dim=1, keepdim=True).to(texts.dtype), persistent=False)  # (N, 1)

    def forward(self, users: FeatureBatch) -> Tensor:
        """B users -> (B, V)"""
        history = users.sparse[self.history]
        starts = history.lengths.cumsum(0) - history.lengths
        total = embedding_bag(history.values, self.texts, starts, mode="sum")
        count = embedding_bag(history.values, self.told, starts, mode="sum")
        return self.text(total / count.clamp(min=1))


def text_of(config: FusionConfig, schema: FeatureSchema) -> Vector | None:
    """The declared vector, if it is read or aligned with.

    Raises:
        InputError: It is, and none is declared.
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
        vectors: The vectors of the items that training sees; zeros for an item without text, which do not count. (n, V)

    Raises:
        InputError: Fewer than two of them have a text.
    """
    told = vectors[vectors.any(axis=1)]
    if len(told) < 2:
        raise InputError(
            f"model.fusion wants texts, and {len(told)} of the {len(vectors)} items that training sees have one"
        )
    for module in model.modules():
        if isinstance(module, TextFusion | HistoryTexts):
            module.text.fit(told)
