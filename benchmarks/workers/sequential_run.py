"""One training run of a sequential model, as a process of its own: how fast and how well, as JSON lines.

    python benchmarks/workers/sequential_run.py '{"settings": ["model.dim=64", ...], "epochs": 3}' DATA.npz

It is to this project what `benchmarks/peers/rectools/run.py` is to RecTools: the same data, the same lines, and the
same meaning of an epoch's seconds: all that a fit does in an epoch, checkpoints included, and validation left out. It
trains as the product does, by `training.sequential_fit`. The JSON has the keys settings, epochs, budget (seconds of
training), target (a validation NDCG@10 that ends the run), threads and seed.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback

from features.dataset import Dataset
from features.prepared import Prepared
from features.splits import TRAIN, VALIDATION, Split
from training.config import load_config
from training.sequential_config import SequentialTrainConfig
from training.sequential_fit import fit

#: every epoch is looked at, and nothing but the request ends a run before its schedule does
ALWAYS = ("optimiser.validate_every=1", "optimiser.patience=1000000")


class Watch(Callback):
    """Measures each epoch, and stops a run that has reached its target, spent its budget or made its epochs.

    The schedule is as long as the settings say whatever ends the run.

    Args:
        say: Called with an event's name and figures.
        epochs: At the most.
        budget: Seconds of training.
        target: A validation NDCG@10; none for no such end.
    """

    def __init__(self, say: Callable[..., None], epochs: int, budget: float, target: float | None) -> None:
        self._say, self._epochs, self._budget, self._target = say, epochs, budget, target
        self._spent = 0.0
        self._figures: dict[str, Any] | None = None

    def on_train_start(self, _: lightning.Trainer, module: lightning.LightningModule) -> None:
        parameters = sum(one.numel() for one in module.parameters())
        self._say("start", torch=torch.__version__, threads=torch.get_num_threads(), parameters=parameters)

    def on_train_epoch_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self._close()
        self._began, self._away = time.perf_counter(), 0.0
        self._figures = {"epoch": trainer.current_epoch + 1, "complete": True}

    def on_validation_start(self, *_: Any) -> None:
        self._left = time.perf_counter()

    def on_validation_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self._away = time.perf_counter() - self._left
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._figures |= {name: metrics[f"validation/{name}"] for name in ("hr@10", "ndcg@10")}
        reached = self._target is not None and self._figures["ndcg@10"] >= self._target
        spent = self._spent + self._left - self._began > self._budget
        trainer.should_stop |= reached or spent or self._figures["epoch"] >= self._epochs

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self._figures["loss"] = float(trainer.callback_metrics["train/loss"])

    def on_train_end(self, *_: Any) -> None:
        self._close()

    def _close(self) -> None:
        """Ends an epoch where the next one begins: what is done in between, such as a checkpoint, belongs to it."""
        if self._figures is None:
            return
        seconds = time.perf_counter() - self._began - self._away
        self._spent += seconds
        self._say("epoch", seconds=seconds, spent=self._spent, evaluation_seconds=self._away, **self._figures)
        self._figures = None


def prepared_from(path: Path) -> Prepared:
    """The arrays that `sequential_speed.py` writes: interactions, oldest first, those of validation marked."""
    with np.load(path, allow_pickle=False) as data:
        frame = pl.DataFrame({"user_id": data["user_id"], "item_id": data["item_id"]}).with_row_index("timestamp")
        parts = np.where(data["validation"], VALIDATION, TRAIN).astype(np.uint8)
    dataset = Dataset.construct("speed", frame)
    split = Split("leave-one-out", {}, parts, dataset.interactions, "train+validation", "train+validation")
    return Prepared.of(dataset, split)


def peak_gb() -> float:
    """The largest memory of this process so far; Linux counts in kibibytes, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def train(request: dict[str, Any], data: Path, say: Callable[..., None]) -> None:
    """Trains as the request says.

    Args:
        request: See the module.
        data: The file of interactions.
        say: Called with an event's name and figures.
    """
    torch.set_num_threads(request.get("threads", 2))
    config = load_config(settings=[*request["settings"], *ALWAYS], kind=SequentialTrainConfig, seed=request.get("seed"))
    prepared = prepared_from(data)
    epochs = request.get("epochs") or config.optimiser.max_epochs
    watch = Watch(say, epochs, request.get("budget", float("inf")), request.get("target"))
    with tempfile.TemporaryDirectory() as folder:
        fit(config, prepared, Path(folder), callbacks=[watch], progress=False)
    say("end", peak_gb=peak_gb())


def main() -> None:
    """Trains, and tells on standard output."""

    def say(event: str, **figures: Any) -> None:
        print(json.dumps({"event": event, **figures}), flush=True)

    train(json.loads(sys.argv[1]), Path(sys.argv[2]), say)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
