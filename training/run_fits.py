"""The fits of a run: the one that is measured, and perhaps another on all data that is released in its place."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.prepared import Prepared
from features.splits import TRAIN
from recsys.retrievers import Retriever
from training import processes
from training.families import Family, family_of
from training.fit import Fitted

if TYPE_CHECKING:
    from training.families import RunConfig
    from training.runs import RunOptions
    from training.warm_start import WarmStart


@dataclass(frozen=True)
class RunFits:
    """What a run fits, from where and into which folder. All processes of a run make the same calls.

    Args:
        config: The run's configuration.
        options: What else is asked of it.
        prepared: The data.
        start: What the run begins from, if not from random weights.
    """

    config: RunConfig
    options: RunOptions
    prepared: Prepared
    start: WarmStart | None = None

    @property
    def family(self) -> Family:
        """Whose models the run fits."""
        return family_of(self.config)

    @property
    def everything(self) -> Prepared:
        """All interactions as training data."""
        parts = np.full_like(self.prepared.split.parts, TRAIN)
        return dataclasses.replace(self.prepared, split=dataclasses.replace(self.prepared.split, parts=parts))

    def check(self) -> None:
        """Finds out, before anything is written, what the fits would stumble over.

        Raises:
            InputError: Data or settings that cannot be used.
        """
        if self.start is not None:
            for data in (self.prepared, *([self.everything] if self.options.refit else [])):
                self.start.weights(data)
        self.family.check_usable(self.config, self.prepared)

    def measured(
        self, report: Callable[[dict[str, float], int], None] = lambda figures, epoch: None
    ) -> Fitted[Retriever]:
        """The fit on the training part.

        Args:
            report: Called after each epoch with its metrics and its number, from 1.
        """
        self._say(f"training on {len(self.prepared.train.values):,} interactions")
        return self.family.fit(
            self.config,
            self.prepared,
            self.options.folder / "checkpoints",
            initial=None if self.start is None else self.start.weights(self.prepared),
            resume=self.options.resume,
            report=report,
            say=self._say,
            progress=self.options.progress and processes.is_first(),
        )

    def released(self, measured: Fitted[Retriever]) -> Retriever | None:
        """The model to release: as many epochs as validation chose, on train, validation and test together."""
        self._say(f"refitting on all interactions for {measured.best_epoch} epochs")
        folder, everything = self.options.folder / "refit", self.everything
        if processes.is_first():
            shutil.rmtree(folder, ignore_errors=True)
        return self.family.fit(
            self.config,
            everything,
            folder,
            initial=None if self.start is None else self.start.weights(everything),
            epochs=measured.best_epoch,
            progress=self.options.progress and processes.is_first(),
        ).model

    def _say(self, line: str) -> None:
        if processes.is_first():
            self.options.say(line)
