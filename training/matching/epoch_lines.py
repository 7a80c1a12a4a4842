"""A line an epoch of a matcher's training, for logs: where there is no terminal, there is no bar."""

from __future__ import annotations

import time
from collections.abc import Callable

#: metrics that are told, by what they are told as
_TOLD = {
    "train/loss": "loss {:.3f}",
    "contrast/train_loss": "loss {:.3f}",
    "validation/f1": "validation F1 {:.4f}",
    "contrast/validation_auc": "validation AUC {:.4f}",
}


class EpochLines:
    """Tells each epoch's loss and validation figure, and how long the rest takes at the most.

    Args:
        say: Called with a line.
        contrast: Epochs of the contrast of single records, 0 for none.
        epochs: Of the training on pairs; fewer where validation stops it.
        clock: Seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        contrast: int,
        epochs: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._say, self._clock = say, clock
        self._epochs = {"contrast": contrast, "epoch": epochs}
        self._began = self._last = clock()
        self._stage, self._first = "", 0

    def __call__(self, figures: dict[str, float], epoch: int) -> None:
        """An epoch is over, counted from 1."""
        stage = "contrast" if any(name.startswith("contrast/") for name in figures) else "epoch"
        if stage != self._stage:  # a run that goes on begins with a later epoch
            self._stage, self._first, self._began = stage, epoch, self._last
        now = self._last = self._clock()
        of = self._epochs[stage]
        left = (now - self._began) / (epoch - self._first + 1) * max(of - epoch, 0)
        told = [words.format(figures[name]) for name, words in _TOLD.items() if name in figures]
        what = "contrast, epoch" if stage == "contrast" else "epoch"
        after = f"; at most {left:.0f} s more" if epoch < of else ""
        self._say(f"{what} {epoch} of {of}: {', '.join(told)}{after}")
