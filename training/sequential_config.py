"""Configuration of a run that trains a sequential model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from features.errors import InputError
from recsys.index import IndexConfig
from recsys.sequential import SequentialConfig
from recsys.text_encoders import ItemTextConfig
from serving.bundles.writer import BundleConfig
from training.config import DataConfig, LossConfig, SplitConfig
from training.optimisers import OptimiserConfig


@dataclass(frozen=True)
class WindowsConfig:
    """What one training example is: a stretch of a user's history, of which every item but the first is a target.

    Args:
        max_length: A window has at most so many inputs, each with the item that came next. 0 takes as many as the
            model reads (`model.max_length`), which is also the most that it can be.
        windows: "last": each user's most recent window; what came before it is not trained on. "all": the whole
            history, cut at places that change with the epoch; each item but a user's first is a target once an epoch.
        batch_size: Windows of a batch. 0 takes a two-hundredth of the windows, so that an epoch has some 200 steps to
            learn from, but 16 at least, and at most 256.
        group_by_length: Batches of windows of similar length, which wastes less where batches are padded. Which windows
            meet in a batch then depends on their lengths, too.
        candidates: What a target is told from: the whole "catalogue", or only what is "trained", that is, has a
            training interaction. Scored down by every user in every step, items that nobody has taken yet lose to all
            others, and new ones at a service with them; left out, they are ranked by their attributes and texts. A
            split that withholds items always leaves them out, and so does `data.new_items`.
    """

    max_length: int = 0
    windows: Literal["last", "all"] = "all"
    batch_size: int = 0
    group_by_length: bool = False
    candidates: Literal["catalogue", "trained"] = "catalogue"

    def __post_init__(self) -> None:
        if self.max_length < 0:
            raise InputError(f"windows.max_length is 0 or more, got {self.max_length}")
        if self.windows not in ("last", "all"):
            raise InputError(f"windows.windows is {self.windows!r}, not 'last' or 'all'")
        if self.batch_size < 0:
            raise InputError(f"windows.batch_size is 0 or more, got {self.batch_size}")
        if self.candidates not in ("catalogue", "trained"):
            raise InputError(f"windows.candidates is {self.candidates!r}, not 'catalogue' or 'trained'")


@dataclass(frozen=True)
class SequentialTrainConfig:
    """All that a run of a sequential model depends on. It is written beside the run and logged with it."""

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=lambda: SplitConfig("leave-one-out"))
    text: ItemTextConfig = field(default_factory=ItemTextConfig)
    model: SequentialConfig = field(default_factory=SequentialConfig)
    windows: WindowsConfig = field(default_factory=WindowsConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(lr=2e-3, weight_decay=0.01, max_epochs=30, gradient_clip=1.0)
    )
    index: IndexConfig = field(default_factory=IndexConfig)
    bundle: BundleConfig = field(default_factory=BundleConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is 0 or more, got {self.seed}")
        if self.windows.max_length > self.model.max_length:
            raise InputError(
                f"windows.max_length {self.windows.max_length} is more than the model reads, model.max_length "
                f"{self.model.max_length}"
            )
        if not self.windows.max_length:
            object.__setattr__(self, "windows", dataclasses.replace(self.windows, max_length=self.model.max_length))
