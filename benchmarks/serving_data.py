"""What `serving_speed.py` and `swap.py` serve: trained bundles, one of a million items, and servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import polars as pl
import torch

from features.dataset import Dataset
from features.prepared import Prepared
from features.schema import FeatureSchema, Id
from features.splits import make_split
from recsys.embeddings import EmbeddingPlan
from recsys.retrievers import make_retriever
from recsys.two_tower import TwoTowerConfig
from serving.bundles.writer import write_bundle
from training.config import TrainConfig, load_config
from training.data import prepare
from training.runs import RunOptions, run
from training.sequential_config import SequentialTrainConfig

#: a few epochs: how good a model is makes no difference to how long it takes
_SHORT = {
    TrainConfig: ("optimiser.max_epochs=2",),
    SequentialTrainConfig: ("optimiser.max_epochs=1", "windows.batch_size=32"),
}
QUICK = ("data.settings.interactions=1000", "optimiser.max_epochs=1", "model.dim=16", "optimiser.backend=torch")
KINDS = {"two-tower": TrainConfig, "sequential": SequentialTrainConfig}


def trained(name: str, kind: str, folder: Path, data_root: Path | None, seed: int = 0) -> Path:
    """The bundle of a short run; made once a folder.

    Args:
        name: "ml-1m" or "generated".
        kind: "two-tower" or "sequential".
        folder: Where it goes.
        data_root: The folder that holds ml-1m.
        seed: Of the run.
    """
    bundle = folder / f"{name}-{kind}-{seed}"
    if not bundle.is_dir():
        settings = list(QUICK if name == "generated" else _SHORT[KINDS[kind]])
        if name != "generated":
            settings.append(f"data.root={data_root / name}")
        config = load_config(settings=settings, kind=KINDS[kind], data__name=name, seed=seed)
        made = run(config, RunOptions(folder / f"run-{bundle.name}", track=False, progress=False), prepare(config))
        os.rename(made.bundle, bundle)
    return bundle


def generated(folder: Path, items: int, dim: int = 64, users: int = 10_000, seed: int = 0) -> Path:
    """A two-tower bundle of random weights: users of 20 interactions each, items by the million."""
    bundle = folder / f"generated-{items}"
    if not bundle.is_dir():
        random = np.random.default_rng(seed)
        torch.manual_seed(seed)
        who, what = np.repeat(np.arange(users), 20), random.integers(0, items, 20 * users)
        log = pl.DataFrame({"user_id": who, "item_id": what, "timestamp": np.arange(len(who))}).unique(
            ["user_id", "item_id"], maintain_order=True
        )
        table = pl.DataFrame({"item_id": np.arange(items)})
        schema = FeatureSchema(user=(Id("user_id"),), item=(Id("item_id"),))
        dataset = Dataset.construct(bundle.name, log, table, None, schema)
        prepared = Prepared.of(dataset, make_split("leave-one-out", dataset))
        config = TwoTowerConfig(dim=dim, embeddings=EmbeddingPlan(kind="collisionless", width=dim, initial_range=1.0))
        model = make_retriever(config, schema, prepared.vocabularies, prepared.item_table).eval()
        write_bundle(bundle, model, prepared, name=bundle.name)
    return bundle


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def served(
    bundle: Path | str, *arguments: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[int, float]]:
    """`recsys serve` in processes of its own: its port, and the seconds until it was ready."""
    port = free_port()
    command = [sys.executable, "-m", "training.cli", "serve", "--model", str(bundle), "--port", str(port), *arguments]
    with running(command, port, "/readyz", environment) as seconds:
        yield port, seconds


@contextmanager
def running(
    command: Sequence[str], port: int, path: str, environment: dict[str, str] | None = None, limit: float = 300.0
) -> Iterator[float]:
    """A server, and the seconds until it answered at a path; ended, with all that it has begun."""
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        try:
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30):
                        break
                except (ConnectionError, urllib.error.URLError, TimeoutError):
                    if process.poll() is not None or time.perf_counter() - began > limit:
                        raise SystemExit(f"{' '.join(command[:6])} ... does not answer") from None
                    time.sleep(0.02)
            yield time.perf_counter() - began
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(30)
                os.killpg(process.pid, signal.SIGKILL)  # whatever has not ended with it


def memory(process_group: int) -> float:
    """What the processes of a group hold, in MB, each its share of what they hold together (PSS)."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getpgid(int(entry.name)) == process_group:
                lines = (entry / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


def listener_group(port: int) -> int:
    """The process group that listens at a port: `served` begins one."""
    listening = f":{port:04X} 00000000:0000 0A"
    lines = Path("/proc/net/tcp").read_text().splitlines()
    inode = next(line.split()[9] for line in lines if listening in line)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if any(os.readlink(one) == f"socket:[{inode}]" for one in (entry / "fd").iterdir()):
                    return os.getpgid(int(entry.name))
            except OSError:
                continue
    raise SystemExit(f"nobody listens at port {port}")
