"""What retrieves: models of either family under one contract, which evaluation, bundles and serving are written for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from features.batches import FeatureBatch
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import FeatureSchema
from features.vocabulary import Vocabulary
from recsys.embeddings import Embeddings
from recsys.sequential import SequentialRecommender
from recsys.sequential_config import SequentialConfig
from recsys.two_tower import TwoTower, TwoTowerConfig

RetrieverConfig = TwoTowerConfig | SequentialConfig

#: what a family of models is called, and its configuration
FAMILIES: dict[str, type[RetrieverConfig]] = {"two-tower": TwoTowerConfig, "sequential": SequentialConfig}


class Retriever(Protocol):
    """A module that gives users and items vectors whose inner product ranks the items."""

    config: RetrieverConfig
    embeddings: Embeddings

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        ...

    def encode_users(self, users: FeatureBatch) -> Tensor:
        """Declared features of B users -> (B, D)"""
        ...

    def encode_items(self, items: FeatureBatch) -> Tensor:
        """Declared features of B items -> (B, D)"""
        ...


def make_retriever(
    config: RetrieverConfig,
    schema: FeatureSchema,
    vocabularies: Mapping[str, Vocabulary],
    items: FeatureTable,
    backend: Literal["torch", "torchrec", "sharded"] = "torch",
) -> TwoTower | SequentialRecommender:
    """A model of the configuration's family, with random weights.

    Args:
        config: What it looks like.
        schema: The declared features.
        vocabularies: For each id, categorical and multi-valued feature its vocabulary.
        items: The features of the whole catalogue. (N rows)
        backend: Who looks up embeddings: see `recsys.embeddings.Embeddings`.

    Raises:
        InputError: Features that this model cannot be made of.
    """
    if isinstance(config, SequentialConfig):
        return SequentialRecommender(config, schema, vocabularies, items, backend)
    return TwoTower(config, schema, vocabularies, backend)


def family_of(config: RetrieverConfig) -> str:
    """What the family of a configuration is called.

    Example:
        >>> family_of(SequentialConfig())
        'sequential'
    """
    return next(name for name, kind in FAMILIES.items() if isinstance(config, kind))


def config_from_json(family: str, data: dict[str, Any]) -> RetrieverConfig:
    """A configuration from what its `to_json` gave.

    Raises:
        InputError: There is no such family.
    """
    if family not in FAMILIES:
        raise InputError(f"there is no family of models {family!r}, only {', '.join(FAMILIES)}")
    return FAMILIES[family].from_json(data)


@torch.no_grad()
def encode_catalogue(model: Retriever, items: FeatureTable, chunk: int = 16_384) -> Tensor:
    """The vectors of all items, in row order, where the model is. (N, D) float32

    Args:
        model: In evaluation mode.
        items: The catalogue's features. (N rows)
        chunk: How many are encoded at a time.
    """
    device = next(model.parameters()).device
    rows = np.arange(items.size)
    return torch.cat(
        [
            model.encode_items(items.take(rows[start : start + chunk]).to(device=device)).float()
            for start in range(0, len(rows), chunk)
        ]
    )
