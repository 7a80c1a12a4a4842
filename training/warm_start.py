"""Going on from a bundle's model with newer data, in which there are users, items and values never seen before.

No table is resized. A multiplexed table is addressed by hashes of raw ids, so old ids keep their rows whatever order
the new vocabularies have, and new ones fall onto the same rows, as they would have if they had been there from the
beginning. A collisionless table has no row for a new id, and a hashed one has a share of the budget that follows from
the numbers of ids: these go on only where nothing is new.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml
from torch import Tensor

from features.errors import InputError
from features.prepared import Earlier, Prepared
from features.splits import TEST
from recsys.retrievers import RetrieverConfig, family_of
from recsys.text_encoders import ItemTextConfig
from recsys.text_encoders.loading import facts_of
from serving.bundles.bundle import Bundle, with_metrics
from serving.bundles.manifest import Manifest
from serving.resolve import resolve
from training.as_bundle import declared_as
from training.carried_weights import carried_weights
from training.config import flat

if TYPE_CHECKING:
    from training.families import RunConfig


@dataclass(frozen=True, eq=False)
class WarmStart:
    """Where a training begins that does not begin from random weights.

    Args:
        source: As it was asked for: a bundle's folder, or "models:/NAME@ALIAS".
        folder: The bundle's.
        name: In the registry; what the bundle calls itself where it does not come from there.
        version: In the registry.
        bundle: What is gone on from.
    """

    source: str
    folder: Path
    name: str
    version: str | None
    bundle: Bundle

    @classmethod
    def load(cls, source: str | Path, tracking_uri: str | None = None) -> WarmStart:
        """Finds and reads a bundle.

        Args:
            source: Whatever `serving.resolve.resolve` takes.
            tracking_uri: Where models are registered.

        Raises:
            InputError: No such model, or a bundle that cannot be used.
        """
        found = resolve(source, tracking_uri)
        with found.blamed():
            return cls(str(source), found.folder.resolve(), found.name, found.version, Bundle.load(found.folder))

    @property
    def family(self) -> str:
        """What family of models it is of."""
        return family_of(self.bundle.model.config)

    @property
    def origin(self) -> dict[str, Any]:
        """What a run says of where it began: name, version and build id."""
        return {"name": self.name, "version": self.version, "build_id": self.bundle.manifest.build_id}

    @property
    def tags(self) -> dict[str, str]:
        """The origin, for experiment trackers."""
        return {f"from.{key}": str(value) for key, value in self.origin.items() if value is not None}

    @property
    def fixed_source(self) -> str:
        """What names this very version, even after an alias has moved or the working folder has changed."""
        return str(self.folder) if self.version is None else f"models:/{self.name}/{self.version}"

    @property
    def config(self) -> RetrieverConfig:
        """The model's configuration, with the size of multiplexed tables in bytes: a share would grow with the ids."""
        config = self.bundle.model.config
        if config.embeddings.kind != "multiplexed":
            return config
        size = f"{4 * self.bundle.model.embeddings.layout.parameters}B"
        return dataclasses.replace(config, embeddings=dataclasses.replace(config.embeddings, budget=size))

    def settings(self, path: str | Path | None = None) -> list[str]:
        """The model's settings as `load_config` takes them, for those that a configuration file does not state.

        What items' texts are made of is among them, where the model reads any.

        Args:
            path: The file; one that cannot be read states nothing here, and `load_config` says what is wrong with it.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) if path is not None else {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            content = {}
        found: dict[str, Any] = {"model": self.config}
        if self.bundle.text is not None:
            found["text"] = self.bundle.text.config
        return list(_unstated(found, _mapping(content)))

    def configured(self, config: RunConfig) -> RunConfig:
        """A run's configuration to go on with: the model is the bundle's, and so is what it reads of items' texts.

        Raises:
            InputError: A setting that contradicts the bundle's, by name.
        """
        agreed: dict[str, Any] = {"model": self.agreed(config.model), "text": self.agreed_text(config.text)}
        return dataclasses.replace(config, **agreed)

    def agreed(self, model: RetrieverConfig) -> RetrieverConfig:
        """The configuration to go on with.

        Args:
            model: What was asked for. The bundle's own budget is as good as the size in bytes that it came to.

        Raises:
            InputError: A setting that contradicts the bundle's, by name.
        """
        asked, mine, own = flat(model), flat(self.config), flat(self.bundle.model.config)
        for key in sorted(asked.keys() | mine.keys()):
            if asked.get(key) not in (mine.get(key), own.get(key)):
                raise InputError(
                    f"the setting 'model.{key}' is {asked.get(key)!r}, and the model of {self.source} has "
                    f"{own.get(key)!r}; a training that goes on from a model keeps its settings"
                )
        return self.config

    def agreed_text(self, asked: ItemTextConfig) -> ItemTextConfig:
        """What items' texts are made of; the folder that keeps their vectors is a matter of taste.

        Args:
            asked: What was asked for; the bundle's own where that names no columns.

        Raises:
            InputError: A setting that contradicts the bundle's, by name; or texts for a model that reads none.
        """
        if self.bundle.text is None:
            if asked.columns:
                raise InputError(
                    f"text.columns is {list(asked.columns)}, and the model of {self.source} was trained without texts; "
                    "a training that goes on from a model keeps its features"
                )
            return asked
        mine = dataclasses.replace(self.bundle.text.config, store=asked.store)
        if not asked.columns or asked == mine:
            return mine
        # a language model may have another name, and lie in another folder
        same = facts_of(asked.encoder) == facts_of(mine.encoder)
        one, other = flat(asked), flat(dataclasses.replace(mine, encoder=asked.encoder) if same else mine)
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                raise InputError(
                    f"the setting 'text.{key}' is {one.get(key)!r}, and the model of {self.source} was trained with "
                    f"{other.get(key)!r}; a training that goes on from a model keeps its texts"
                )
        return asked

    def continued(self, prepared: Prepared) -> Prepared:
        """Newer data as this model goes on with it: its features, its statistics, and what it knows of the items.

        Args:
            prepared: The newer data and its split.

        Raises:
            InputError: Data that lacks a column which the model reads, or has ids of another type.
        """
        try:
            self.bundle.items.rows(prepared.items.ids), self.bundle.users.rows(prepared.users.ids)  # of the same type
            prepared = declared_as(self.bundle, prepared)
        except InputError as error:
            raise InputError(f"the model of {self.source} cannot go on with this data: {error}") from error
        statistics = {**self.bundle.known.encoder.statistics, **self.bundle.item_encoder.statistics}
        trained = self.bundle.items.ids.filter(pl.Series(self.bundle.item_counts > 0))
        return dataclasses.replace(prepared, earlier=Earlier(trained, statistics))

    def weights(self, prepared: Prepared) -> dict[str, Tensor]:
        """The weights to begin with: see `training.carried_weights`.

        Args:
            prepared: What `continued` gave.

        Raises:
            InputError: New ids, and tables that cannot take them; or ids of another type than the model's.
        """
        return carried_weights(self.source, self.bundle, self.config, prepared)

    def notes(self, prepared: Prepared) -> list[str]:
        """What is to be known before going on, a sentence each.

        Args:
            prepared: What `continued` gave.
        """
        notes = []
        cutoff = self.bundle.manifest.data.get("cutoff")
        asked = prepared.dataset.interactions["timestamp"].to_numpy()[prepared.split.parts == TEST]
        if cutoff is not None and len(asked) and asked.min() <= cutoff:
            notes.append(
                f"note: {self.source} has trained on interactions until {cutoff}, and the test part begins at "
                f"{asked.min()}: it may know test items already"
            )
        if self.bundle.ranker is not None:
            notes.append(f"note: the ranker of {self.source} is not gone on with, and the new bundle will have none")
        return notes

    def stamp(self, folder: Path, figures: dict[str, float]) -> None:
        """Writes into a bundle's manifest where it comes from, and what became of old and new items.

        Args:
            folder: The bundle that this start has led to.
            figures: See `training.retention.compare`.
        """
        manifest = Manifest.read(folder)
        known: list[Any] = [one.data.get("known_until") for one in (manifest, self.bundle.manifest)]
        until = None if None in known else max(known)  # its weights know what those that it began from knew
        data = {**manifest.data, "known_until": until, "from": self.origin}
        with_metrics(folder, {**manifest.metrics, **figures}, data=data)


def _unstated(described: Mapping[str, Any], stated: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Settings by name, those of configurations inside of configurations too, save what is stated already."""
    for name, value in described.items():
        if dataclasses.is_dataclass(value):
            inside = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
            yield from _unstated(inside, _mapping(stated.get(name)), f"{prefix}{name}.")
        elif name not in stated and value != "":  # which is the default wherever it may be one
            yield f"{prefix}{name}={value if isinstance(value, str) else json.dumps(value)}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
