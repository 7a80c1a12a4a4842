"""From a configuration to a data set, its split, and the arrays of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features import sources
from features.dataset import Dataset
from features.entity_items import through_entities
from features.entity_join import EntityJoin
from features.entity_store import read_entities
from features.errors import InputError
from features.item_log import ItemLog
from features.prepared import Prepared
from features.splits import Split, make_split
from training.config import DataConfig, SplitConfig
from training.texts import with_texts

if TYPE_CHECKING:
    from training.families import RunConfig


def load(config: DataConfig) -> Dataset:
    """The configured data set, its items entities where it says so, with those that a service was told of.

    Raises:
        InputError: An unknown source or setting, data that cannot be used, or entities or new items that cannot be
            read.
    """
    dataset = sources.load(config.name, Path(config.root) if config.root else None, **config.settings)
    if config.entities.folder:
        chosen = config.entities
        entities = read_entities(chosen.folder, chosen.version).entities
        dataset = through_entities(dataset, entities, chosen.fuse, chosen.sources, chosen.unknown)
    if not config.new_items:
        return dataset
    if not Path(config.new_items).is_file():
        raise InputError(f"data.new_items is {config.new_items!r}, and there is no such file")
    return dataset.with_new_items(ItemLog(config.new_items).read())


def pinned(config: RunConfig) -> RunConfig:
    """The configuration with the version of the entity map that is current now, so that it means the same later.

    Raises:
        InputError: There is no such map.
    """
    entities = config.data.entities
    if not entities.folder or entities.version:
        return config
    version = read_entities(entities.folder).entities.version
    data = dataclasses.replace(config.data, entities=dataclasses.replace(entities, version=version))
    return dataclasses.replace(config, data=data)


def split(config: SplitConfig, dataset: Dataset) -> Split:
    """The configured split.

    Raises:
        InputError: An unknown split or setting.
    """
    return make_split(config.name, dataset, **config.settings)


def with_given_parts(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with the split `given`, where the interactions say which part they are of.

    For runs of which nobody has named the split: any other would train on what is published to be tested on.
    """
    if "part" not in dataset.interactions.columns or config.split.name == "given":
        return config
    return dataclasses.replace(config, split=dataclasses.replace(config.split, name="given"))


def prepare(
    config: RunConfig, dataset: Dataset | None = None, say: Callable[[str], None] = lambda line: None
) -> Prepared:
    """Loads, splits and maps the configured data, and encodes what is told of items.

    Args:
        config: The run's.
        dataset: What `load` gave, where it has been loaded already.
        say: Called with a line about the entities and the texts.
    """
    dataset = load(config.data) if dataset is None else dataset
    if dataset.entities is not None:
        say(str(dataset.entities))
    parts = split(config.split, dataset)  # first, because texts may take long
    return Prepared.of(with_texts(dataset, config.text, say), parts)


def note_on_parts(prepared: Prepared) -> str | None:
    """What is wrong with another split than `given` of interactions that say their parts; None where nothing is."""
    if "part" not in prepared.dataset.interactions.columns or prepared.split.name == "given":
        return None
    return (
        f"the split {prepared.split.name} does not read the column 'part' of the interactions, so what is published to "
        "be tested on may be trained on"
    )


def through(entities: EntityJoin) -> dict[str, int]:
    """What an entity map did to the data, as figures."""
    return {
        "items_before_entities": entities.items,
        "interactions_before_entities": entities.interactions,
        "unknown_items_dropped": entities.unknown_items,
        "unknown_interactions_dropped": entities.unknown_interactions,
    }


def describe(dataset: Dataset, parts: Split) -> dict[str, Any]:
    """What a person wants to know of a data set before training on it."""
    n, entities = dataset.interactions.height, dataset.entities
    return {
        "dataset": dataset.name,
        "dataset_hash": dataset.sha256,
        **({} if entities is None else {"entity_map": entities.identity, **through(entities)}),
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
