"""What training any retriever has in common: its candidates, its draws, validation by full ranking, and the fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, Unpack, overload

import numpy as np
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from features.batches import FeatureBatch
from features.errors import InputError
from features.prepared import Prepared
from features.schema import Vector
from recsys.fusion import fit_texts, text_of
from recsys.losses import make_loss
from recsys.losses.alignment import MOST, TextAlignment
from recsys.retrievers import Retriever, make_retriever
from recsys.sequential import SequentialRecommender
from recsys.two_tower import TwoTower
from training import processes
from training.evaluation import Evaluation, ModelScores
from training.fit import Fitted, fit_module
from training.fit_options import FitOptions
from training.optimisers import configure
from training.ranked_validation import MONITOR, RankedValidation

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.examples import TwoTowerData
    from training.families import RunConfig
    from training.sequential_config import SequentialTrainConfig
    from training.windows import NextItemData

M = TypeVar("M", TwoTower, SequentialRecommender)


class RetrieverTraining(RankedValidation):
    """Trains a `Retriever`; which queries are to find what, a family's own module says.

    Args:
        config: The run's configuration.
        prepared: The data.
        candidates: What a target is told from: the whole "catalogue", or only what is "trained".
        backend: Who looks up embeddings: see `recsys.embeddings.Embeddings`.
    """

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        candidates: Literal["catalogue", "trained"],
        backend: Literal["torch", "torchrec", "sharded"] = "torchrec",
    ) -> None:
        super().__init__(prepared)
        self.config = config
        self.model = make_retriever(
            config.model, prepared.dataset.schema, prepared.vocabularies, prepared.item_table, backend=backend
        )
        fusion = config.model.fusion
        self.alignment = None
        if (text := text_of(fusion, prepared.dataset.schema)) is not None:
            texts = prepared.item_table.dense[text.name]
            fit_texts(self.model, seen_texts(prepared, text))
            if fusion.align != "none":
                temperature = fusion.align_temperature
                self.alignment = TextAlignment(fusion.align, config.model.dim, texts, temperature, config.seed)
        self.loss = make_loss(config.loss.name, **config.loss.settings)
        # items that the split withholds must not be known to training, not even as what nobody takes; and what has just
        # come would lose to all others for good, scored down by every user before anybody could take it
        only_trained = candidates == "trained" or prepared.split.withholds_items or bool(config.data.new_items)
        known = np.flatnonzero(prepared.item_counts) if only_trained else np.arange(len(prepared.items))
        compact = np.full(len(prepared.items), -1)
        compact[known] = np.arange(len(known))
        self._known, self._compact = known, torch.from_numpy(compact)
        self._candidates = prepared.item_table.take(known)
        self._frequency = torch.from_numpy(prepared.item_counts[known])

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
        mine = self._features(padded[processes.rank() * each :][:each])
        return processes.gathered_vectors(self.model.encode_items(mine))[: len(rows)]

    def _features(self, rows: Tensor) -> FeatureBatch:
        """The features of some candidates. (M,) -> M rows"""
        return self.prepared.item_table.take(self._known[rows.cpu().numpy()]).to(device=self.device)

    def _aligned_items(self, items: Tensor) -> Tensor:
        """What it costs that items are not what their texts say: RLMRec-Con. The same for all processes.

        Args:
            items: This process's, rows of the catalogue that training sees; once or more. (T,)
        """
        different = processes.gathered(items).unique()
        if len(different) > MOST:  # no more are compared, so no more are encoded
            drawn = torch.randperm(len(different), generator=self._draws, device=self.device)[:MOST]
            different = different[drawn.sort().values]
        return self._aligned(self._encode_candidates(self._compact[different]), different)

    def _aligned_guesses(self, vectors: Tensor, items: Tensor) -> Tensor:
        """What it costs that items which were hidden are not told by what is known: RLMRec-Gen. The same for all.

        Args:
            vectors: What this process's are taken for. (M, D)
            items: What they are, rows of the catalogue. (M,)
        """
        return self._aligned(processes.gathered_rows(vectors), processes.gathered(items))

    def _aligned(self, vectors: Tensor, items: Tensor) -> Tensor:
        """The alignment of all processes' items; an item's bias has no text. (M, D + bias), (M,) -> ()"""
        assert self.alignment is not None
        loss, _ = self.alignment(vectors[:, : self.config.model.dim].float(), items)
        return self.config.model.fusion.align_weight * loss

    def _told(self, loss: Tensor, n: int, also: Tensor | None = None) -> Tensor:
        """Logs a mean over n targets, and gives what to step on: its mean over processes is that of the whole batch.

        Args:
            loss: Of the targets, in nats.
            n: How many of the targets are this process's.
            also: What else is to be learned; its mean over processes is that of the whole batch already.
        """
        several = processes.world_size() > 1
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=n, sync_dist=several)
        loss = loss * processes.weight(n, self.device)
        return loss if also is None else loss + also

    def scores(self, evaluation: Evaluation) -> ModelScores:
        """What the model makes of the users now."""
        return ModelScores(self.model, evaluation, processes.most)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """See `training.optimisers.configure`."""
        return configure(self, self.config.optimiser)


def fit_retriever(
    training: Callable[..., RetrieverTraining],
    data: TwoTowerData | NextItemData,
    plain: M,
    config: RunConfig,
    prepared: Prepared,
    folder: Path,
    epochs: int | None = None,
    **options: Unpack[FitOptions],
) -> Fitted[M]:
    """Fits a retriever of any family.

    Args:
        training: The family's Lightning module: takes config, prepared and backend.
        data: The family's batches, with their `batch_size`.
        plain: What `usable_model` gave.
        config: The run's configuration.
        prepared: The data.
        folder: Where checkpoints go.
        epochs: Fit exactly so many epochs and validate nothing: how a model is refitted on all data.
        options: As `training.fit.fit_module` takes them.
    """
    torch.manual_seed(config.seed)
    parameters = plain.embeddings.layout.parameters
    return fit_module(
        training(config, prepared, backend=config.optimiser.lookups_by(parameters)),
        data,
        config.optimiser,
        folder,
        tables=config.optimiser.for_tables(parameters),
        monitor=MONITOR if epochs is None else None,
        batch_size=data.batch_size,
        seed=config.seed,
        epochs=epochs,
        **options,
    ).of(plain)


@overload
def usable_model(config: TrainConfig, prepared: Prepared, validate: bool = True) -> TwoTower: ...


@overload
def usable_model(config: SequentialTrainConfig, prepared: Prepared, validate: bool = True) -> SequentialRecommender: ...


def usable_model(config: RunConfig, prepared: Prepared, validate: bool = True) -> Retriever:
    """The model for plain torch, without memory for its weights.

    Raises:
        InputError: Nothing to train on or to validate on, or a loss or a model that cannot be made.
    """
    for part, there in (("training", prepared.train), ("validation", prepared.validation)):
        if not len(there.values) and (validate or part == "training"):
            raise InputError(f"the data set {prepared.dataset.name!r} has no {part} interaction under this split")
    make_loss(config.loss.name, **config.loss.settings)
    text = text_of(config.model.fusion, prepared.dataset.schema)
    if text is not None:
        fit_texts(torch.nn.Identity(), seen_texts(prepared, text))  # teaches nobody; finds out whether there are any
    with torch.device("meta"):  # takes neither time nor memory
        return make_retriever(config.model, prepared.dataset.schema, prepared.vocabularies, prepared.item_table)


def seen_texts(prepared: Prepared, text: Vector) -> np.ndarray:
    """The vectors of the items that training sees: one that is withheld must not be known to it in any way. (n, V)"""
    return prepared.item_table.dense[text.name][prepared.item_counts > 0]
