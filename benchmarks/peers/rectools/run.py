"""Trains RecTools' SASRecModel and says how fast and how well, as JSON lines; run by the environment beside this file.

    benchmarks/peers/rectools/.venv/bin/python benchmarks/peers/rectools/run.py '{"loss": "softmax", ...}' DATA.npz

The data are three arrays, oldest interaction first: user_id, item_id (integers), validation (bool; the rest trains).
After each epoch every user with a validation item is ranked over the whole catalogue, the training items removed, in
the order (score, then lower id): the protocol of this project's own figures. It takes no part in an epoch's seconds.

Lines: {"event": "start"} with the number of parameters, an {"event": "epoch"} after each epoch, an {"event": "end"}
with the peak of the process's memory. This file knows nothing of this project's packages: that environment lacks them.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from ranked import Ranked
from rectools import VERSION, Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet
from rectools.models.nn.transformers.ligr import LiGRLayers
from rectools.models.nn.transformers.sasrec import SASRecTransformerLayers

LAYERS = {"ligr": LiGRLayers, "sasrec": SASRecTransformerLayers}


@dataclass(frozen=True)
class Settings:
    """What is trained, and for how long.

    Args:
        loss: RecTools' name: "softmax", "sampled_softmax", "BCE" or "gBCE".
        n_negatives: Of the losses that draw some; RecTools draws them for each place anew.
        layers: "ligr" or "sasrec".
        n_factors: Width of the vectors.
        n_blocks: Blocks of layers.
        n_heads: Heads of attention.
        ff_factors_multiplier: How much wider the feed-forward layers of "ligr" are.
        dropout_rate: Of embeddings and layers.
        session_max_len: Inputs of a window; a user's last one is trained on.
        batch_size: Windows of a batch.
        lr: Of Adam, the same in all steps, as RecTools has it.
        use_key_padding_mask: Attention does not see padding. So it is in eSASRec's published settings; LiGR's layers,
            unlike SASRec's, do not zero it.
        epochs: At the most.
        budget: Seconds of training after which it stops, in the middle of an epoch if need be, but not of the first.
        threads: Of torch.
        seed: Of weights, order and negatives.
    """

    loss: str = "softmax"
    n_negatives: int = 256
    layers: str = "ligr"
    n_factors: int = 64
    n_blocks: int = 2
    n_heads: int = 1
    ff_factors_multiplier: int = 4
    dropout_rate: float = 0.2
    session_max_len: int = 200
    batch_size: int = 128
    lr: float = 1e-3
    use_key_padding_mask: bool = True
    epochs: int = 1000
    budget: float = 900.0
    threads: int = 2
    seed: int = 0


def say(event: str, **figures: Any) -> None:
    """A line for the process that has started this one."""
    print(json.dumps({"event": event, **figures}), flush=True)


def peak_gb() -> float:
    """The largest memory of this process so far; Linux counts in kibibytes, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


class Watch(Callback):
    """Measures each epoch, stops when the budget is spent, and asks for validation figures in between."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._spent = 0.0
        self._steps = 0
        self.ranked: Ranked | None = None

    def __deepcopy__(self, memo: dict) -> Watch:
        return self  # RecTools copies its trainer; this one must not copy the model that it looks at

    def on_train_epoch_start(self, *_: Any) -> None:
        self._began, self._steps = time.perf_counter(), 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._steps += 1
        spent = self._spent + time.perf_counter() - self._began
        if spent > self._settings.budget and trainer.current_epoch:  # one whole epoch there must be
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        seconds = time.perf_counter() - self._began
        self._spent += seconds
        figures = self.ranked.figures()
        loss = float(trainer.callback_metrics["train_loss"])
        whole = self._steps == trainer.num_training_batches
        epoch = trainer.current_epoch + 1
        say("epoch", epoch=epoch, seconds=seconds, spent=self._spent, complete=whole, loss=loss, **figures)


def make_model(settings: Settings, watch: Watch) -> SASRecModel:
    """The model of RecTools with its own trainer's settings: no checkpoints, no logger, no bar, no worker processes.

    A worker process would be a third one on two cores; RecTools' default is none as well.
    """
    ligr = settings.layers == "ligr"

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=settings.epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[watch],
        )

    return SASRecModel(
        loss=settings.loss,
        n_negatives=settings.n_negatives,
        transformer_layers_type=LAYERS[settings.layers],
        transformer_layers_kwargs={"ff_factors_multiplier": settings.ff_factors_multiplier} if ligr else None,
        n_factors=settings.n_factors,
        n_blocks=settings.n_blocks,
        n_heads=settings.n_heads,
        dropout_rate=settings.dropout_rate,
        session_max_len=settings.session_max_len,
        batch_size=settings.batch_size,
        lr=settings.lr,
        use_key_padding_mask=settings.use_key_padding_mask,
        item_net_block_types=(IdEmbeddingsItemNet,),
        recommend_torch_device="cpu",
        dataloader_num_workers=0,
        get_trainer_func=trainer,
    )


def main() -> None:
    """Reads, trains, tells."""
    settings = Settings(**json.loads(sys.argv[1]))
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(settings.threads)
    seed_everything(settings.seed)
    with np.load(sys.argv[2], allow_pickle=False) as data:
        frame = pd.DataFrame({name: data[name] for name in ("user_id", "item_id", "validation")})
    # RecTools wants datetimes: the place in the order, in seconds, keeps the order exactly
    frame[Columns.Datetime] = pd.to_datetime(np.arange(len(frame)), unit="s")
    frame[Columns.Weight] = 1.0
    # the validation items are left out here, and not by RecTools' mask, so that it spends nothing on a loss of theirs
    columns = [Columns.User, Columns.Item, Columns.Weight, Columns.Datetime]
    train = Dataset.construct(frame.loc[~frame["validation"], columns])
    watch = Watch(settings)
    model = make_model(settings, watch)
    # what `fit` does, with the validation made in between: it needs the item ids that the model knows
    model._build_model_from_dataset(train)
    watch.ranked = Ranked(model, train, frame)
    say(
        "start",
        rectools=VERSION,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        parameters=sum(one.numel() for one in model.torch_model.parameters()),
        items=len(model.data_preparator.get_known_item_ids()),
        data_gb=peak_gb(),
    )
    model.fit_trainer = model._trainer
    model.fit_trainer.fit(model.lightning_model, model.data_preparator.get_dataloader_train())
    say("end", peak_gb=peak_gb())
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
