"""What every fit can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

from pytorch_lightning.callbacks import Callback
from torch import Tensor


class OtherFitOptions(TypedDict, total=False):
    """`FitOptions`, of what names `say` itself."""

    initial: Mapping[str, Tensor] | None
    resume: bool
    report: Callable[[dict[str, float], int], None]
    callbacks: Sequence[Callback]
    progress: bool


class FitOptions(OtherFitOptions, total=False):
    """What every fit can be asked for; `training.fit.fit_module` says what each means."""

    say: Callable[[str], None]
