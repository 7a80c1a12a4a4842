"""The Lightning module of sequential models: at each place of a history, the next item is to be found."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from features.batches import FeatureBatch, Jagged, NextItemBatch
from features.prepared import Prepared
from recsys.losses.attribute_heads import AttributeHeads
from recsys.sequential import Hidden, SequentialRecommender
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

    config: SequentialTrainConfig
    model: SequentialRecommender

    def __init__(
        self,
        config: SequentialTrainConfig,
        prepared: Prepared,
        backend: Literal["torch", "torchrec", "sharded"] = "torchrec",
    ) -> None:
        super().__init__(config, prepared, config.windows.candidates, backend)
        self.heads = heads_of(config, prepared)
        if config.model.fusion.align == "gen":  # stands in a history for an item that is hidden
            self.hidden_item = nn.Parameter(torch.zeros(config.model.dim))
        self._known_here = torch.from_numpy(self._known)

    def on_fit_start(self) -> None:
        """Puts the rows of candidates where the model is, too."""
        super().on_fit_start()
        self._known_here = self._known_here.to(self.device)

    def _features(self, rows: Tensor) -> FeatureBatch:
        """Of the model's own catalogue, which is where it is. (M,) -> M rows"""
        return self.model.catalogue.take(self._known_here[rows])

    def training_step(self, batch: NextItemBatch, _: int) -> Tensor:
        """Mean loss of the places, of a softmax in nats, and what the next items' attributes cost."""
        history = batch.users.sparse[self.model.history]
        targets = self._compact[batch.targets]  # (T,)
        everybodys, start = processes.gathered_from(targets)
        hide = self._hidden(len(everybodys), slice(start, start + len(targets)))
        queries = self.model.hidden(history, batch.users.asked_at, hide)  # (T, D)
        loss = self.loss(
            queries,
            Jagged(targets, torch.ones_like(targets)),
            self._encode_candidates,
            len(self._known),
            self._frequency,
            generator=self._draws,
            batch_items=everybodys,
            batch_start=start,
        )
        also: list[Tensor] = []
        if self.config.model.also_predict:
            also.append(self.config.model.also_predict_weight * self._attributes(queries, batch.targets))
        if hide is not None:
            guessed = self._aligned_guesses(queries[hide.places], history.values[hide.places])
            also.append(guessed + 0.0 * hide.vector.sum())  # it has a gradient where no item is hidden, too
        elif self.alignment is not None:
            also.append(self._aligned_items(batch.targets))
        return self._told(loss, len(targets), sum(also[1:], also[0]) if also else None)

    def _hidden(self, n: int, mine: slice) -> Hidden | None:
        """Which items of histories RLMRec-Gen hides.

        Args:
            n: How many all processes have.
            mine: Which of them are this process's.
        """
        if self.alignment is None or self.alignment.kind == "con":
            return None
        drawn = torch.rand(n, generator=self._draws, device=self.device)[mine]
        return Hidden(drawn < self.config.model.fusion.align_share, self.hidden_item)

    def _attributes(self, queries: Tensor, targets: Tensor) -> Tensor:
        """How badly the next items' attributes are predicted, each on average over those known. (T, D), (T,) -> ()

        Over all processes' targets: they know different shares of them.
        """
        losses, known = self.heads(queries, targets)
        return (losses / known.clamp(min=1) * processes.weight(known, self.device)).sum()


def heads_of(config: SequentialTrainConfig, prepared: Prepared) -> AttributeHeads:
    """What predicts the attributes of the next item; bundles and trainings that go on from them know nothing of it.

    Raises:
        InputError: `model.also_predict` names what cannot be predicted.
    """
    model, schema = config.model, prepared.dataset.schema
    return AttributeHeads(model.dim, model.also_predict, schema, prepared.vocabularies, prepared.item_table)
