"""Configuration of a run that trains an entity matcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from features.errors import InputError
from recsys.matching.augment import AUGMENTATIONS
from recsys.matching.calibration import CALIBRATIONS
from recsys.matching.ditto_config import DittoConfig
from training.optimisers import OptimiserConfig


@dataclass(frozen=True)
class PairDataConfig:
    """Which records and labelled pairs.

    Args:
        name: A source of `features.sources.PAIR_SOURCES`: "record-tables", "deepmatcher" or "serialised-pairs".
        root: Its folder.
        settings: What else the source takes, such as `left`, `right` and `pairs` of record-tables.
    """

    name: str = "record-tables"
    root: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ContrastConfig:
    """Supervised-contrastive pre-training of the language model on single records: see `training.matching.contrast`.

    Args:
        epochs: 0 for none.
        batch_size: Records of a batch; each brings another one of the same thing.
        temperature: What cosines are divided by.
        lr: The highest learning rate.
        augment: How records are changed.
        freeze: Pairs are learned from without changing the language model any more.
    """

    epochs: int = 0
    batch_size: int = 64
    temperature: float = 0.07
    lr: float = 5e-5
    augment: Literal["none", "span_del", "span_shuffle", "attr_del", "attr_shuffle", "entry_swap", "all"] = "all"
    freeze: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise InputError(f"contrast.epochs is 0 or more, got {self.epochs}")
        if self.batch_size < 2:
            raise InputError(f"contrast.batch_size is at least 2, got {self.batch_size}")
        for name in ("temperature", "lr"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"contrast.{name} is a positive number, got {getattr(self, name)}")
        if self.augment not in AUGMENTATIONS:
            raise InputError(f"contrast.augment is {self.augment!r}, not one of {', '.join(AUGMENTATIONS)}")
        if self.freeze and not self.epochs:
            raise InputError("contrast.freeze keeps what contrast.epochs has taught, and that is 0")


@dataclass(frozen=True)
class MatchTrainConfig:
    """All that the training of a matcher depends on.

    Args:
        data: Which records and pairs.
        model: What the matcher looks like.
        contrast: What the language model learns of single records before.
        augment: How training pairs are changed: see `recsys.matching.augment`.
        mixda: Learns from points between a pair and its changed self, not from the changed one (Ditto's MixDA).
        mixda_alpha: Of the Beta distribution that says where between them.
        batch_size: Pairs of a batch.
        average_epochs: What is validated and kept is the running mean of the weights over so many epochs; 0 for the
            last weights alone.
        calibration: What log-odds are worth, learned on validation: see `recsys.matching.calibration`.
        optimiser: How it is trained.
        seed: Of first weights, draws and dropout.
    """

    #: what shows all settings
    shown_by: ClassVar[str] = "recsys match train --print-config"

    data: PairDataConfig = field(default_factory=PairDataConfig)
    model: DittoConfig = field(default_factory=DittoConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    augment: Literal["none", "span_del", "span_shuffle", "attr_del", "attr_shuffle", "entry_swap", "all"] = "none"
    mixda: bool = False
    mixda_alpha: float = 0.8
    batch_size: int = 32
    average_epochs: float = 1.0
    calibration: Literal["none", "temperature", "platt", "isotonic"] = "platt"
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            lr=1e-4,
            decay="linear",
            weight_decay=0.01,
            max_epochs=10,
            validate_every=1,
            gradient_clip=1.0,
            precision="auto",
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("augment", AUGMENTATIONS), ("calibration", CALIBRATIONS)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, not one of {', '.join(known)}")
        if self.mixda and self.augment == "none":
            raise InputError(
                "mixda mixes pairs with their changed selves, and augment is 'none', which changes nothing"
            )
        if not 0 < self.mixda_alpha < float("inf"):
            raise InputError(f"mixda_alpha is a positive number, got {self.mixda_alpha}")
        if self.batch_size < 1:
            raise InputError(f"batch_size is at least 1, got {self.batch_size}")
        if not 0 <= self.average_epochs < float("inf"):
            raise InputError(f"average_epochs is 0 or more, got {self.average_epochs}")
        if self.seed < 0:
            raise InputError(f"seed is 0 or more, got {self.seed}")
