"""The Lightning module of sequential models: at each place of a history, the next item is to be found."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from features.batches import Jagged, NextItemBatch
from features.prepared import Prepared
from training import processes
from training.retriever import RetrieverTraining
from training.sequential_config import SequentialTrainConfig


class SequentialTraining(RetrieverTraining):
    """Trains a `SequentialRecommender`.

    Args:
        config: The run's configuration.
        prepared: The data.
        backend: Who looks up embeddings: see `recsys.embeddings.Embeddings`.
    """

    def __init__(
        self,
        config: SequentialTrainConfig,
        prepared: Prepared,
        backend: Literal["torch", "torchrec", "sharded"] = "torchrec",
    ) -> None:
        super().__init__(config, prepared, config.windows.candidates, backend)

    def _queries(self, batch: NextItemBatch) -> Tensor:
        """The vector of each place. (T, D)"""
        history = batch.users.sparse[self.model.history]
        if len(history):
            return self.model.hidden(history, batch.users.asked_at)
        # a process without a part of this batch: the others wait for a gradient of every weight, if only of 0
        one = torch.ones(1, dtype=torch.int64, device=self.device)
        times = None if history.times is None else one
        return self.model.hidden(Jagged(one * int(self._known[0]), one, times))[:0]

    def training_step(self, batch: NextItemBatch, _: int) -> Tensor:
        """Mean loss of the places, of a softmax in nats, and what the next items' attributes cost."""
        queries = self._queries(batch)  # (T, D)
        targets = self._compact[batch.targets]  # (T,)
        loss = self.loss(
            queries,
            Jagged(targets, torch.ones_like(targets)),
            self._encode_candidates,
            len(self._known),
            self._frequency,
            generator=self._draws,
            batch_items=processes.gathered(targets),
        )
        also = None
        if self.config.model.also_predict:
            also = self.config.model.also_predict_weight * self.model.attribute_loss(queries, batch.targets)
        return self._told(loss, len(targets), also)
