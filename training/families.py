"""The families of retrievers that a run can train, and what it needs to know of each; modules load when used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import yaml

from features.errors import InputError
from recsys.retrievers import Retriever
from recsys.retrievers import family_of as family_of_model
from serving.manifest import KIND_OF

if TYPE_CHECKING:
    from features.prepared import Prepared
    from training.config import TrainConfig
    from training.fit import Fitted
    from training.sequential_config import SequentialTrainConfig

    #: the configuration of a retriever's run, of any family
    RunConfig: TypeAlias = TrainConfig | SequentialTrainConfig


@dataclass(frozen=True)
class Family:
    """One family.

    Args:
        name: On the command line, in figures, and in a bundle's model.json.
        where: The module and the name of the configuration of its runs.
        fits: The module that fits it.
    """

    name: str
    where: tuple[str, str]
    fits: str

    @property
    def config(self) -> type:
        """The frozen dataclass that configures a run."""
        module, name = self.where
        return getattr(importlib.import_module(module), name)

    @property
    def fit(self) -> Callable[..., Fitted[Retriever]]:
        """Fits a model: (config, prepared, folder, *, epochs, and `training.fit.FitOptions`)."""
        return importlib.import_module(self.fits).fit

    def check_usable(self, config: RunConfig, prepared: Prepared) -> None:
        """Finds out, before anything is written, what fitting would stumble over.

        Raises:
            InputError: Data or settings that cannot be used.
        """
        importlib.import_module(self.fits).check_usable(config, prepared)


FAMILIES: Mapping[str, Family] = {
    one.name: one
    for one in (
        Family("two-tower", ("training.config", "TrainConfig"), "training.two_tower_fit"),
        Family("sequential", ("training.sequential_config", "SequentialTrainConfig"), "training.sequential_fit"),
    )
}


def family_of(config: RunConfig) -> Family:
    """The family that a run's configuration is of."""
    return FAMILIES[family_of_model(config.model)]


def family_of_kind(kind: str) -> Family:
    """The family of a bundle, by its manifest's kind.

    Raises:
        InputError: A bundle that holds no retriever.
    """
    for one in FAMILIES.values():
        if KIND_OF[one.name] == kind:
            return one
    raise InputError(f"a bundle of the kind {kind!r} holds no retriever")


def trained_by(path: Path) -> str | None:
    """What a run trains, by its configuration file: "two-tower", "sequential" or "ranker".

    Args:
        path: A YAML file. None is said of one that cannot be read; `load_config` says what is wrong with it.
    """
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    if not isinstance(stated, dict):
        return None
    return "ranker" if "labels" in stated else "sequential" if "windows" in stated else "two-tower"
