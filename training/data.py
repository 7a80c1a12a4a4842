"""From a configuration to a data set, its split, and the arrays of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import sources
from features.dataset import Dataset
from features.prepared import Prepared
from features.splits import Split, make_split
from training.config import DataConfig, SplitConfig

if TYPE_CHECKING:
    from training.families import RunConfig


def load(config: DataConfig) -> Dataset:
    """The configured data set.

    Raises:
        InputError: An unknown source or setting, or data that cannot be used.
    """
    return sources.load(config.name, Path(config.root) if config.root else None, **config.settings)


def split(config: SplitConfig, dataset: Dataset) -> Split:
    """The configured split.

    Raises:
        InputError: An unknown split or setting.
    """
    return make_split(config.name, dataset, **config.settings)


def prepare(config: RunConfig) -> Prepared:
    """Loads, splits and maps the configured data."""
    dataset = load(config.data)
    return Prepared.of(dataset, split(config.split, dataset))


def describe(dataset: Dataset, parts: Split) -> dict[str, Any]:
    """What a person wants to know of a data set before training on it."""
    n = dataset.interactions.height
    return {
        "dataset": dataset.name,
        "dataset_hash": dataset.sha256,
        "interactions": n,
        "users": dataset.users.height,
        "items": dataset.items.height,
        "items_without_interaction": dataset.items.height - dataset.interactions["item_id"].n_unique(),
        "density": round(n / (dataset.users.height * dataset.items.height), 6),
        "orphans": dataset.orphans,
        "user_features": ", ".join(f"{one.name} ({one.kind})" for one in dataset.schema.user),
        "item_features": ", ".join(f"{one.name} ({one.kind})" for one in dataset.schema.item),
        "split": parts.name,
        "split_hash": parts.sha256,
        "seen": parts.seen,
        **parts.counts,
    }
