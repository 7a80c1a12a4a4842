"""What retrieves: models of either family under one contract, which evaluation, bundles and serving are written for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from features.batches import FeatureBatch, Jagged
from features.errors import InputError
from features.feature_table import FeatureTable
from features.schema import FeatureSchema
from features.vocabulary import Vocabulary
from recsys.sequential import SequentialRecommender
from recsys.sequential_config import SequentialConfig
from recsys.two_tower import TwoTower, TwoTowerConfig

RetrieverConfig = TwoTowerConfig | SequentialConfig

#: a module that gives users and items vectors whose inner product ranks the items: `encode_users` takes the declared
#: features of B users, and `encode_items` those of B items -> (B, D); `dim` is the width D
Retriever = TwoTower | SequentialRecommender

#: what a family of models is called, and its configuration
FAMILIES: dict[str, type[RetrieverConfig]] = {"two-tower": TwoTowerConfig, "sequential": SequentialConfig}


#: of histories that are read in their order, what is encoded at a time: the numbers of their attention, a pair of items
#: and a head each, and so many for each item besides, for the layers around it
_MOST = 1 << 25
_AROUND = 512


def make_retriever(
    config: RetrieverConfig,
    schema: FeatureSchema,
    vocabularies: Mapping[str, Vocabulary],
    items: FeatureTable,
    backend: Literal["torch", "torchrec", "sharded"] = "torch",
) -> Retriever:
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
    return TwoTower(config, schema, vocabularies, items, backend)


def family_of(config: RetrieverConfig) -> str:
    """What the family of a configuration is called.

    Example:
        >>> family_of(SequentialConfig())
        'sequential'
    """
    return next(name for name, kind in FAMILIES.items() if isinstance(config, kind))


def reads_times(config: RetrieverConfig) -> bool:
    """Whether a model reads when the items of histories came."""
    return isinstance(config, SequentialConfig) and config.times != "none"


def reads_asking_time(config: RetrieverConfig) -> bool:
    """Whether it reads when it is asked, too: what its figures know, and those of other models do not."""
    return isinstance(config, SequentialConfig) and config.times == "request"


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
    """The vectors of all items as they are ranked, in row order, where the model is. (N, D) float32

    Args:
        model: In evaluation mode.
        items: The catalogue's features. (N rows)
        chunk: How many are encoded at a time.
    """
    device = next(model.parameters()).device
    rows = np.arange(items.size)
    vectors = torch.cat(
        [
            model.encode_items(items.take(rows[start : start + chunk]).to(device=device)).float()
            for start in range(0, len(rows), chunk)
        ]
    )
    if items.known is not None:
        vectors[torch.from_numpy(~items.known).to(device)] *= model.config.new_item_scale
    return vectors


@torch.no_grad()
def encode_histories(model: Retriever, users: FeatureBatch, agreed: Callable[[int], int] = int) -> Tensor:
    """The vectors of users, where the model is; as many at a time as memory takes. (B, D) float32

    Attention takes memory for each pair of a history's items: a thousand histories of a thousand items, which a
    two-tower model sums up in no time, would be gigabytes.

    Args:
        model: In evaluation mode.
        users: Their declared features, histories included. (B users)
        agreed: In how many parts all processes encode theirs, where several look up together: from how many parts this
            process needs, the most that any does.
    """
    if not isinstance(model, SequentialRecommender):
        return model.encode_users(users).float()
    parts = _parts(users, model.history, model.config)
    # whoever has fewer parts than others looks up nothing, because the others wait for it
    parts += [_some(users, model.history, slice(0, 0), slice(0, 0))] * (agreed(len(parts)) - len(parts))
    return torch.cat([model.encode_users(part).float() for part in parts])


def _parts(users: FeatureBatch, history: str, config: SequentialConfig) -> list[FeatureBatch]:
    """Users some at a time, by how long their histories are; one part at least."""
    lengths = users.sparse[history].lengths.cpu().numpy()  # (B,)
    read = lengths.clip(max=config.max_length)
    starts = np.flatnonzero(np.diff(np.cumsum(read * (read * config.heads + _AROUND)) // _MOST, prepend=-1)).tolist()
    ends = np.cumsum([0, *lengths.tolist()]).tolist()
    bounds = zip(starts, [*starts[1:], len(read)], strict=True) if starts else [(0, 0)]
    return [_some(users, history, slice(start, stop), slice(ends[start], ends[stop])) for start, stop in bounds]


def _some(users: FeatureBatch, history: str, rows: slice, values: slice) -> FeatureBatch:
    """What a model reads of some users that reads histories alone; `values` are those of the rows' histories."""
    whole = users.sparse[history]
    times = None if whole.times is None else whole.times[values]
    part = Jagged(whole.values[values], whole.lengths[rows], times)
    return FeatureBatch(
        {history: part}, size=len(part), asked_at=None if users.asked_at is None else users.asked_at[rows]
    )
