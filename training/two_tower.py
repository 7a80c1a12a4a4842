"""The Lightning module of two-tower models: loss, optimiser, validation by full ranking."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from features.batches import FeatureBatch, Jagged, TrainingBatch
from features.prepared import Prepared
from recsys.losses import make_loss
from recsys.metrics import RankedTargets
from recsys.two_tower import TwoTower
from training import processes
from training.config import TrainConfig
from training.evaluation import Evaluation, ModelScores, sum_up
from training.optimisers import configure


class TwoTowerTraining(pl.LightningModule):
    """Trains a `TwoTower`.

    Args:
        config: The run's configuration.
        prepared: The data.
        backend: Who looks up embeddings: see `recsys.embeddings.Embeddings`.
    """

    def __init__(
        self, config: TrainConfig, prepared: Prepared, backend: Literal["torch", "torchrec", "sharded"] = "torchrec"
    ) -> None:
        super().__init__()
        self.config = config
        self.prepared = prepared
        self.model = TwoTower(config.model, prepared.dataset.schema, prepared.vocabularies, backend=backend)
        self.loss = make_loss(config.loss.name, **config.loss.settings)
        # items that the split withholds must not be known to training, not even as what nobody takes
        only_trained = config.examples.candidates == "trained" or prepared.split.withholds_items
        known = np.flatnonzero(prepared.item_counts) if only_trained else np.arange(len(prepared.items))
        compact = np.full(len(prepared.items), -1)
        compact[known] = np.arange(len(known))
        self._known, self._compact = known, torch.from_numpy(compact)
        self._candidates = prepared.item_table.take(known)
        self._frequency = torch.from_numpy(prepared.item_counts[known])
        self._evaluation: Evaluation | None = None

    def on_fit_start(self) -> None:
        """Puts the catalogue where the model is."""
        self._candidates = self._candidates.to(device=self.device)
        self._frequency, self._compact = self._frequency.to(self.device), self._compact.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Makes dropout depend on the seed and the epoch alone, so that a resumed run equals an undisturbed one."""
        seed = self.config.seed * 1_000_003 + self.current_epoch
        torch.manual_seed(seed + 7_919 * processes.rank())
        # what is drawn for a whole batch must be the same for all processes
        self._draws = torch.Generator(self.device).manual_seed(seed)

    def _encode_candidates(self, rows: Tensor) -> Tensor:
        """The vectors of different candidates, in ascending order of rows. (M,) -> (M, D)

        Several processes have the same candidates; each encodes a part of them.
        """
        world = processes.world_size()
        if world == 1 and len(rows) == len(self._known):  # then it is all of them
            return self.model.encode_items(self._candidates)
        each = -(-len(rows) // world)
        padded = torch.cat([rows, rows[-1:].expand(each * world - len(rows))])
        mine = padded[processes.rank() * each :][:each].cpu().numpy()
        items: FeatureBatch = self.prepared.item_table.take(self._known[mine])
        return processes.gathered_vectors(self.model.encode_items(items.to(device=self.device)))[: len(rows)]

    def _among_candidates(self, items: Jagged) -> Jagged:
        """Item rows as rows of the candidates."""
        return Jagged(self._compact[items.values], items.lengths)

    def training_step(self, batch: TrainingBatch, _: int) -> Tensor:
        """Mean cross-entropy of the targets, in nats."""
        targets = self._among_candidates(batch.targets)
        loss = self.loss(
            self.model.encode_users(batch.users),
            targets,
            self._encode_candidates,
            len(self._known),
            self._frequency,
            generator=self._draws,
            others=self._among_candidates(batch.others),
            batch_items=processes.gathered(targets.values),
        )
        n = len(targets.values)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=n, sync_dist=processes.world_size() > 1)
        return loss * processes.weight(n, self.device)

    def on_validation_epoch_start(self) -> None:
        """Encodes the catalogue once."""
        if self._evaluation is None:
            self._evaluation = Evaluation(self.prepared, "validation")
        self._scores = ModelScores(self.model, self._evaluation)
        self._sums = []

    def validation_step(self, users: np.ndarray, _: int) -> None:
        """Ranks the whole catalogue for this process's part of a chunk of users."""
        users = users[processes.my_part(len(users))]
        ranking = self._evaluation.rank(users, self._scores.scorer(users))
        self._sums.append(self._evaluation.sums(RankedTargets.of(*ranking), slices=False))

    def on_validation_epoch_end(self) -> None:
        """Logs the ranking metrics."""
        figures = sum_up([one for sums in processes.gathered_objects(self._sums) for one in sums])
        for name in ("ndcg@10", "hr@10"):
            self.log(f"validation/{name}", figures[name])

    def configure_optimizers(self) -> dict:
        """See `training.optimisers.configure`."""
        return configure(self, self.config.optimiser)
