"""Validation by full ranking, as every model that ranks the catalogue is validated."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import numpy as np
import pytorch_lightning as pl
import torch

from features.prepared import Prepared
from recsys.metrics import MetricSums, RankedTargets
from recsys.top_k import Scorer
from training import processes
from training.evaluation import Evaluation, sum_up

MONITOR = "validation/ndcg@10"


class Scores(Protocol):
    """What a model makes of users at one moment."""

    def scorer(self, users: np.ndarray) -> Scorer:
        """Scores of these users. (B,)"""
        ...


class RankedValidation(pl.LightningModule):
    """A module whose validation ranks the whole catalogue for chunks of users, on one process or several.

    Args:
        prepared: The data.
    """

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        self.prepared = prepared
        self._evaluation: Evaluation | None = None

    @abstractmethod
    def scores(self, evaluation: Evaluation) -> Scores:
        """What the model makes of the users now."""

    def on_validation_epoch_start(self) -> None:
        """Encodes the catalogue once."""
        if self._evaluation is None:
            self._evaluation = Evaluation(self.prepared, "validation")
        self._scores = self.scores(self._evaluation)
        self._sums: list[MetricSums] = []

    def validation_step(self, users: np.ndarray, _: int) -> None:
        """Ranks the whole catalogue for this process's part of a chunk of users."""
        users = users[processes.my_part(len(users))]
        assert self._evaluation is not None  # since the validation began
        with torch.autocast(self.device.type, enabled=False):  # in the precision that is served
            ranking = self._evaluation.rank(users, self._scores.scorer(users))
        self._sums.append(self._evaluation.sums(RankedTargets.of(*ranking), slices=False))

    def on_validation_epoch_end(self) -> None:
        """Logs the ranking metrics."""
        figures = sum_up([one for sums in processes.gathered_objects(self._sums) for one in sums])
        for name in ("ndcg@10", "hr@10"):
            self.log(f"validation/{name}", figures[name])
