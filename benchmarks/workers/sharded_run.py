"""Fits in processes of their own, for the benchmark and the tests of sharding: `python sharded_run.py FOLDER STEP...`.

Every process does the steps in order, and the first writes what they found to FOLDER/STEP-WORLD.json. A step is a case,
"next-item", "ranker", "pipelined-ranker", "save:CASE@NAME" (half of the epochs, in FOLDER/NAME) or "resume:CASE@NAME"
(the other half).
FOLDER/settings.json, where there is one, holds settings that replace those below.
"""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import torch
from pytorch_lightning.callbacks import Callback
from row_wise_model import next_item

from features.labelled import LabelledExamples
from features.prepared import Prepared
from recsys import retrievers
from recsys.fusion import fit_texts
from recsys.ranking import Ranker
from recsys.retrievers import Retriever, make_retriever
from training import processes
from training.config import TrainConfig, load_config
from training.data import prepare
from training.evaluation import sum_up
from training.examples import TwoTowerData
from training.fit import fit_module
from training.ranking import RankingConfig
from training.ranking_run import fit_ranker, prepare_labelled
from training.retriever import seen_texts
from training.sequential import SequentialTraining
from training.sequential_config import SequentialTrainConfig
from training.two_tower import TwoTowerTraining
from training.windows import NextItemData

#: of all cases
SETTINGS = (
    "data.settings.interactions=1500",
    "data.settings.users=101",
    "model.dim=16",
    "model.embeddings.width=16",
    "model.embeddings.unknown_rate=0",
    "optimiser.max_epochs=10",
    "optimiser.lr=0.01",
)

#: 101 users in batches of 25: the last batch is so short that a process has no row of it
TWO_TOWER = ("examples.batch_size=25",)

#: without dropout, which several processes draw for themselves
SEQUENTIAL = ("windows.batch_size=25", "model.dropout=0", "model.layers=1", "optimiser.gradient_clip=0.5")

#: what a case's name means
CASES = {
    "in-batch-rowwise-adagrad": (
        "optimiser.tables=rowwise-adagrad",
        "optimiser.sharding=table_wise",
        "loss.name=in-batch",
    ),
    "mixed-two-tables": ("optimiser.tables=rowwise-adagrad", "model.embeddings.tables=2", "loss.name=mixed"),
    "full-softmax-adagrad-columns": ("optimiser.tables=adagrad", "optimiser.sharding=column_wise"),
    "full-softmax-sgd-columns": ("optimiser.tables=sgd", "optimiser.sharding=column_wise", "optimiser.table_lr=0.5"),
    "collisionless-dense": ("model.embeddings.kind=collisionless", "loss.name=in-batch"),
    "sequential-dense": ("model.items=all", "model.also_predict=[category]"),
    "sequential-adagrad": (
        "optimiser.tables=adagrad",
        "optimiser.sharding=table_wise",
        "loss.name=mixed",
        "model.also_predict=[category]",
    ),
    "fused-concat-con": (
        "optimiser.tables=rowwise-adagrad",
        "optimiser.sharding=table_wise",
        "loss.name=in-batch",
        "model.fusion.kind=concat",
        "model.fusion.align=con",
    ),
    "fused-add-gen": ("model.fusion.kind=add", "model.fusion.align=gen"),
    "sequential-fused-alphafuse-con": ("model.fusion.kind=alphafuse", "model.fusion.align=con"),
    "sequential-fused-text-gen": ("model.fusion.kind=text", "model.fusion.align=gen"),
}


def start(world: int, folder: Path, *steps: str, threads: int = 1, **environment: str) -> list[subprocess.Popen]:
    """Starts the processes as torchrun does, but leaves those alone that outlive another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "GROUP_RANK": 0, "OMP_NUM_THREADS": threads}
    ranks |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if world > 1:
        ranks["TORCHELASTIC_RUN_ID"] = "sharded-run"
    return [
        subprocess.Popen(
            [sys.executable, __file__, folder, *steps],
            env={**os.environ, **{name: str(one) for name, one in {**ranks, "RANK": n, "LOCAL_RANK": n}.items()}}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for n in range(world)
    ]


def ran(world: int, folder: Path, *steps: str, threads: int = 1) -> None:
    """Runs the steps to their end.

    Raises:
        RuntimeError: A process failed; with all that they said.
    """
    started = start(world, folder, *steps, threads=threads)
    told = [one.communicate(timeout=550)[0] for one in started]
    if any(one.returncode for one in started):
        raise RuntimeError("\n".join(told))


class Recorded:
    """Keeps each step's loss over all processes, and when it was, and ranks the validation part at the end."""

    losses: list[float]
    times: list[float]
    ranked: dict[str, float]

    def training_step(self, batch, index):
        self.times.append(time.perf_counter())
        loss = super().training_step(batch, index)
        self.losses.append(sum(processes.gathered_objects(float(loss.detach()))) / processes.world_size())
        if os.environ.get("DIE_AT") == f"{processes.rank()}:{len(self.losses)}":
            os.kill(os.getpid(), signal.SIGKILL)
        return loss

    def on_train_end(self):
        # one user, for whom the second process has none to encode; few; and so many that processes encode theirs in
        # parts, of which they need different numbers
        self.eval()
        self.on_validation_epoch_start()
        users = self._evaluation.users
        with patch.object(retrievers, "_MOST", 10_000):
            for chunk in (users[:1], users[1:4], users[4:]):
                self.validation_step(chunk, 0)
        self.ranked = sum_up([one for sums in processes.gathered_objects(self._sums) for one in sums])


class RecordedTwoTower(Recorded, TwoTowerTraining):
    """A two-tower model's."""


class RecordedSequential(Recorded, SequentialTraining):
    """A sequential model's."""


def retriever(case: str, folder: Path, settings: list[str], half: bool = False, resume: bool = False) -> dict:
    """Fits a case from the same weights as everybody, and looks at the strategy."""
    sequential = case.startswith("sequential")
    kind, own = (SequentialTrainConfig, SEQUENTIAL) if sequential else (TrainConfig, TWO_TOWER)
    config = load_config(settings=[*SETTINGS, *own, *settings, *CASES[case]], kind=kind)
    epochs = config.optimiser.max_epochs // 2 if half else config.optimiser.max_epochs
    prepared = prepare(config)
    if sequential:  # processes know the attributes of different shares of their targets
        every_second = pl.when(pl.int_range(pl.len()) % 2 == 1).then(pl.col("category"))
        items = prepared.dataset.items.with_columns(every_second)
        prepared = dataclasses.replace(prepared, dataset=dataclasses.replace(prepared.dataset, items=items))
    if "fused" in case:
        vectors = np.random.default_rng(3).normal(size=(len(prepared.items), 24)).astype(np.float32)
        told = prepared.dataset.with_vectors(pl.Series("text", vectors))
        prepared = dataclasses.replace(prepared, dataset=told)
    torch.manual_seed(5)
    plain = make_retriever(config.model, prepared.dataset.schema, prepared.vocabularies, prepared.item_table)
    if "fused" in case:
        fit_texts(plain, seen_texts(prepared, prepared.dataset.schema.vector))
    before = {name: weight.clone() for name, weight in plain.state_dict().items()}
    parameters = plain.embeddings.layout.parameters
    module = (RecordedSequential if sequential else RecordedTwoTower)(
        config, prepared, config.optimiser.lookups_by(parameters)
    )
    module.losses, module.times = [], []
    data = (
        NextItemData(prepared, config.windows, config.seed)
        if sequential
        else TwoTowerData(prepared, config.examples, config.seed)
    )
    outcome = fit_module(
        module,
        data,
        config.optimiser,
        folder,
        tables=config.optimiser.for_tables(parameters),
        monitor=None,
        epochs=epochs,
        initial=None if resume else before,
        resume=resume,
        progress=False,
    )
    return {
        "losses": module.losses,
        "times": module.times,
        "ranked": module.ranked,
        **_looked_at(module, outcome, before, plain, prepared),
    }


def _looked_at(module: Recorded, outcome, before: dict, plain: Retriever, prepared: Prepared) -> dict:
    strategy = module.trainer.strategy
    seen: dict = {"plan": getattr(strategy, "plan", []), "steps": module.trainer.global_step}
    if seen["plan"]:
        fused = strategy.model.fused_optimizer
        seen["fused"] = processes.gathered_objects(sorted(fused.params))
        seen["dense"] = sorted(strategy._dense.params)
        seen["state"] = processes.gathered_objects(
            sorted(name for state in fused.state_dict()["state"].values() for name in state)
        )
    if outcome.weights:
        plain.load_state_dict(outcome.weights)
        with torch.no_grad():
            items = prepared.item_table.take(torch.arange(20).numpy())
            seen["items"] = plain.eval().encode_items(items).tolist()
        tables = [name for name in before if ".tables." in name]
        seen["moved"] = {name: float((outcome.weights[name] - before[name]).abs().max()) for name in tables}
    return seen


def ranker(folder: Path, pipelined: bool) -> dict:
    """A click model, by TorchRec's pipeline or without."""
    settings = [
        "data.settings.interactions=1500",
        "model.embeddings.width=16",
        "model.embeddings.unknown_rate=0",
        "optimiser.tables=rowwise-adagrad",
        "optimiser.max_epochs=3",
        "optimiser.validate_every=1",
        "batch_size=257",
        f"optimiser.pipeline={str(pipelined).lower()}",
    ]
    config = load_config(settings=settings, kind=RankingConfig)
    examples = LabelledExamples.of_prepared(prepare_labelled(config), config.labels)
    torch.manual_seed(5)
    initial = Ranker(config.model, examples.features, examples.vocabularies).state_dict()
    losses, steps = [], []

    class Counted(Callback):
        def on_train_end(self, trainer, _):
            steps.append(trainer.global_step)

    fitted = fit_ranker(
        config,
        examples,
        folder,
        initial=initial,
        report=lambda figures, epoch: losses.append(figures["train/loss"]),
        callbacks=[Counted()],
        progress=False,
    )
    return {"losses": losses, "steps": steps, "auc": fitted.validation}


def main() -> None:
    """Does the steps."""
    folder, steps = Path(sys.argv[1]), sys.argv[2:]
    given = folder / "settings.json"
    settings = json.loads(given.read_text()) if given.is_file() else []
    world, _ = processes.launched()
    for step in steps:
        name, _, where = step.partition("@")
        own = folder / (where or f"{name}-{world}")
        if name == "next-item":
            found = next_item(own, [*SETTINGS, *TWO_TOWER, *settings])
        elif name in ("ranker", "pipelined-ranker"):
            found = ranker(own, name == "pipelined-ranker")
        elif name.startswith("save:"):
            found = retriever(name.removeprefix("save:"), own, settings, half=True)
        elif name.startswith("resume:"):
            found = retriever(name.removeprefix("resume:"), own, settings, resume=True)
        else:
            found = retriever(name, own, settings)
        if processes.is_first():
            (folder / f"{step}-{world}.json").write_text(json.dumps(found))
    processes.leave()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort a process that ends by itself


if __name__ == "__main__":
    main()
