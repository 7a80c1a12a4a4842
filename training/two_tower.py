"""The Lightning module of two-tower models: each user's vector is asked to find some of the user's items."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from features.batches import Jagged, TrainingBatch
from features.prepared import Prepared
from recsys.two_tower import TwoTower
from training import processes
from training.config import TrainConfig
from training.retriever import RetrieverTraining


class TwoTowerTraining(RetrieverTraining):
    """Trains a `TwoTower`.

    Args:
        config: The run's configuration.
        prepared: The data.
        backend: Who looks up embeddings: see `recsys.embeddings.Embeddings`.
    """

    config: TrainConfig
    model: TwoTower

    def __init__(
        self, config: TrainConfig, prepared: Prepared, backend: Literal["torch", "torchrec", "sharded"] = "torchrec"
    ) -> None:
        super().__init__(config, prepared, config.examples.candidates, backend)

    def _among_candidates(self, items: Jagged) -> Jagged:
        """Item rows as rows of the candidates."""
        return Jagged(self._compact[items.values], items.lengths)

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        """Mean cross-entropy of the targets, in nats."""
        targets = self._among_candidates(batch.targets)
        everybodys, start = processes.gathered_from(targets.values)
        queries = self.model.encode_users(batch.users)
        loss = self.loss(
            queries,
            targets,
            self._encode_candidates,
            len(self._known),
            self._frequency,
            generator=self._draws,
            others=self._among_candidates(batch.others),
            batch_items=everybodys,
            batch_start=start,
        )
        return self._told(loss, len(targets.values), self._alignment(queries, batch.targets))

    def _alignment(self, queries: Tensor, targets: Jagged) -> Tensor | None:
        """What else is to be learned: that items are what their texts say, or that users guess their targets' texts."""
        if self.alignment is None:
            return None
        if self.alignment.kind == "con":
            return self._aligned_items(targets.values)
        # targets are hidden from the histories as it is
        return self._aligned_guesses(queries[targets.row_of_value], targets.values)
