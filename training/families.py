"""What `recsys train` trains, and what it needs to know of each family of retrievers; modules load when used."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from features.errors import InputError
from serving.bundles.manifest import KIND_OF

if TYPE_CHECKING:
    from features.prepared import Prepared
    from recsys.retrievers import Retriever, RetrieverConfig
    from training.config import TrainConfig
    from training.fit import Fitted
    from training.sequential_config import SequentialTrainConfig

    #: the configuration of a retriever's run, of any family
    RunConfig: TypeAlias = TrainConfig | SequentialTrainConfig

#: what can be trained, by its name on the command line and in figures: the module and name of a run's configuration
CONFIGS: Mapping[str, tuple[str, str]] = {
    "two-tower": ("training.config", "TrainConfig"),
    "sequential": ("training.sequential_config", "SequentialTrainConfig"),
    "ranker": ("training.ranking", "RankingConfig"),
    "text-encoder": ("training.text_encoder_config", "TextEncoderTrainConfig"),
    "matcher": ("training.matching.config", "MatchTrainConfig"),
}


@dataclass(frozen=True)
class Family:
    """A family of retrievers, as runs see it; its models are those of `recsys.retrievers.FAMILIES`.

    Args:
        name: On the command line, in figures, and in a bundle's model.json.
        fits: The module that fits it.
    """

    name: str
    fits: str

    @property
    def config(self) -> type:
        """The frozen dataclass that configures a run."""
        return _config(self.name)

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


#: the families of which a run makes a bundle
RUNS: Mapping[str, Family] = {
    one.name: one
    for one in (Family("two-tower", "training.two_tower_fit"), Family("sequential", "training.sequential_fit"))
}


def family_of(config: RunConfig) -> Family:
    """The family that a run's configuration is of."""
    return RUNS[model_of(config)]


def family_of_kind(kind: str) -> Family:
    """The family of a bundle, by its manifest's kind.

    Raises:
        InputError: A bundle that holds no retriever.
    """
    for name, one in KIND_OF.items():
        if one == kind:
            return RUNS[name]
    raise InputError(f"a bundle of the kind {kind!r} holds no retriever")


def model_of(config: Any) -> str:
    """What a run trains, by its configuration: a name of `CONFIGS`."""
    kind = type(config)
    return next(name for name, where in CONFIGS.items() if where == (kind.__module__, kind.__name__))


def described(model: RetrieverConfig) -> str:
    """What a model's tables are, and how it takes texts in if it does: what runs are told apart by."""
    ways = [one for one in (model.fusion.kind, model.fusion.align) if one != "none"]
    return "-".join([model.embeddings.kind, *ways])


def trained_by(folder: Path) -> str | None:
    """What the run in a folder trains: a name of `CONFIGS`; None where there is no run, or none that can be read."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if "model" in state:
            return state["model"]
        # earlier versions wrote no model into a run's state; its settings tell
        stated = set(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        return None
    fits = [name for name in CONFIGS if stated <= {one.name for one in dataclasses.fields(_config(name))}]
    return fits[0] if len(fits) == 1 else None


def _config(name: str) -> type:
    module, kind = CONFIGS[name]
    return getattr(importlib.import_module(module), kind)
