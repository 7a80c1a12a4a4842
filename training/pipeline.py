"""TorchRec's SparseDist pipeline inside Lightning: while one batch is computed, the rows of the next are on their way.

It hides the copy to the GPU and the exchange of row numbers between processes, so it pays where there are several GPUs;
on CPUs nothing runs beside the computation, and it only costs. Rankers can be pipelined: their tables read the batch
itself. (The items of a two-tower's softmax follow from the batch, so there is nothing to send ahead.)

Two traps are taken care of. Handed to Lightning, an iterator that a pipeline reads ahead of ends each epoch early, and
the rest leaks into the next; so Lightning is given one token a batch, and the batches are the module's own. And steps
are counted by Lightning's wrapper of the optimiser, which therefore is what the pipeline steps, or
`trainer.global_step` would stay 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torchrec import KeyedJaggedTensor
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist
from torchrec.sparse.jagged_tensor import KeyedTensor
from torchrec.streamable import Pipelineable

from features.batches import RankingBatch
from features.errors import InputError
from recsys.embeddings.torchrec_tables import keyed_jagged
from recsys.ranking import Ranker
from training.optimisers import OptimiserConfig
from training.ranking import RankerTraining, RankingData


@dataclasses.dataclass
class KeyedBatch(Pipelineable):
    """A ranker's batch whose ids are rows of tables already, so that they can be sent before the model is asked.

    Args:
        keyed: The rows of every look-up. (B, look-ups)
        divisors: What the sum of a row's values is divided by, for each column of the embeddings. (B, sum of E)
        numbers: (B, numbers)
        labels: (B,)
    """

    keyed: KeyedJaggedTensor
    divisors: Tensor
    numbers: Tensor
    labels: Tensor

    def _map(self, function) -> KeyedBatch:
        return KeyedBatch(*(function(getattr(self, one.name)) for one in dataclasses.fields(self)))

    def to(self, device: torch.device, non_blocking: bool = False) -> KeyedBatch:
        """A copy on `device`."""
        return self._map(lambda one: one.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> KeyedBatch:
        """A copy in page-locked memory."""
        return self._map(lambda one: one.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Tells the allocator that `stream` still reads these tensors."""
        for one in dataclasses.fields(self):
            getattr(self, one.name).record_stream(stream)


def keyed(batch: RankingBatch, ranker: Ranker) -> KeyedBatch:
    """Hashes a batch on the host.

    Args:
        batch: Vocabulary rows.
        ranker: In training mode, it replaces its share of ids by the unknown one; its weights are not read.
    """
    embeddings = ranker.embeddings
    sparse = {name: batch.features.sparse[name] for name in ranker.sparse}
    bags = embeddings.bags(sparse)
    names = [bag for table in embeddings.layout.tables for bag in table.bags]
    numbers = [batch.features.dense[name][:, None] for name in ranker.dense]
    size = len(batch.labels)
    return KeyedBatch(
        keyed_jagged(names, bags),
        torch.cat([embeddings.divisors(name, sparse[name].lengths) for name in ranker.sparse], dim=1),
        torch.cat([torch.empty(size, 0), *numbers], dim=1),
        batch.labels,
    )


class _Rest(nn.Module):
    """What comes after the tables.

    A module of its own, because the pipeline looks no deeper than modules without tables; and one that owns no weights,
    which are saved under the model's names.
    """

    def __init__(self, of: PipelinedRankerTraining) -> None:
        super().__init__()
        self._of = [of]

    def forward(self, pooled: KeyedTensor, batch: KeyedBatch) -> tuple[Tensor, Tensor]:
        return self._of[0].loss_of(pooled.to_dict(), batch)


class PipelinedRankerTraining(RankerTraining):
    """Trains a ranker as `RankerTraining` does, by the pipeline.

    Without dropout and forgotten ids the weights are the same; with them they are drawn in another order, because
    batches are hashed ahead.
    """

    #: the strategy calls `training_step` itself: the pipeline calls the wrapped module
    pipelined = True

    _pipeline: TrainPipelineSparseDist  # from the beginning of the fit on

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.automatic_optimization = False
        self._rest = _Rest(self)
        self._batches: Iterator[KeyedBatch] = iter(())

    def forward(self, batch: KeyedBatch) -> tuple[Tensor, Tensor]:
        """What the pipeline traces: the tables read the batch, and the rest reads the tables."""
        return self._rest(self.model.embeddings.tables.pooled(batch.keyed), batch)

    def loss_of(self, found: Mapping[str, Tensor], batch: KeyedBatch) -> tuple[Tensor, Tensor]:
        """The loss to step on; the sum of this process's cross-entropies, and of how many."""
        model = self.model
        plan = model.config.embeddings
        parts = [found[f"{name}/{n}"] for name in model.sparse for n in range(plan.lookups_of(name))]
        inputs = torch.cat([torch.cat(parts, dim=1) / batch.divisors, batch.numbers], dim=1)
        loss, mine = self.losses(inputs, batch.labels)
        return loss, torch.stack([mine, mine.new_tensor(float(len(batch.labels)))])

    def on_fit_start(self) -> None:
        """Builds the pipeline around the sharded module and Lightning's optimiser."""
        self._pipeline = TrainPipelineSparseDist(
            self.trainer.strategy.model, self.optimizers(), self.device, execute_all_batches=True
        )

    def on_train_epoch_start(self) -> None:
        """Begins to read the epoch's batches."""
        super().on_train_epoch_start()
        # after validation Lightning gives back their mode to its own modules, and not to the wrapper around them, which
        # the pipeline asks whether it is to train
        model = self.trainer.strategy.model
        assert model is not None
        model.train()
        # Lightning puts it there, without telling types
        self._batches = iter(self.trainer.datamodule.batches())  # type: ignore[attr-defined]

    def training_step(self, batch: Any, _: int) -> None:
        """One batch further; the token says that there is one."""
        total, count = self._pipeline.progress(self._batches).detach()
        self._losses.append((total, count))
        schedule = self.lr_schedulers()
        assert isinstance(schedule, LRScheduler)  # the only one
        schedule.step()

    def on_validation_start(self) -> None:
        """Gives the tables back their own look-ups; all batches of the epoch are through."""
        if self._pipeline.batches:
            raise RuntimeError(f"{len(self._pipeline.batches)} batches were left in the pipeline")
        self._pipeline.detach()

    def on_validation_end(self) -> None:
        """Puts the pipeline back."""
        self._pipeline.attach(self.trainer.strategy.model)


class PipelinedRankingData(RankingData):
    """Tokens for Lightning, batches for the pipeline.

    Args:
        arguments: As `RankingData`.
        ranker: Hashes the batches; see `keyed`.
    """

    def __init__(self, *arguments: Any, ranker: Ranker) -> None:
        super().__init__(*arguments)
        self._ranker = ranker
        self._batches = self._training()

    def train_dataloader(self) -> range:
        """A token a batch."""
        return range(len(self._batches))

    def batches(self) -> Iterator[KeyedBatch]:
        """The batches of the trainer's current epoch, hashed."""
        for batch in self._batches:
            yield keyed(batch, self._ranker)


def check_pipelined(ranker: Ranker, settings: OptimiserConfig) -> None:
    """Refuses what has nothing to send ahead, and what the pipeline's own steps leave out.

    Raises:
        InputError: Tables that are not fused, or are read as sequences; another precision, or clipping.
    """
    if settings.precision_here != "32-true":
        raise InputError(f"optimiser.pipeline is for precision 32-true, got {settings.precision_here}")
    if settings.gradient_clip:
        raise InputError(
            f"optimiser.pipeline clips no gradients; set optimiser.gradient_clip to 0, it is {settings.gradient_clip}"
        )
    if settings.for_tables(ranker.embeddings.layout.parameters if ranker.sparse else 0) == "adamw":
        raise InputError(
            "optimiser.pipeline needs fused tables; set optimiser.tables to rowwise-adagrad, adagrad or sgd"
        )
    if not ranker.sparse:
        raise InputError("optimiser.pipeline is for rankers with embedded features, and this one has numbers alone")
    if any(table.sequence for table in ranker.embeddings.layout.tables):
        raise InputError("optimiser.pipeline is for tables whose values are pooled")
