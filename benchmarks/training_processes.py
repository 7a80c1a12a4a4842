"""Training runs of sequential models in processes of their own, ours or a peer's: the same data, the same answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from features.dataset import Dataset
from features.errors import InputError
from features.histories import chronological
from features.prepared import Prepared
from features.splits import TEST, VALIDATION, leave_one_out

HERE = Path(__file__).resolve().parent

#: RecTools' environment, where there is one
RECTOOLS = HERE / "peers" / "rectools" / ".venv" / "bin" / "python"

#: who trains, and by which script; each script says what it takes and what lines it prints
PROGRAMS = {
    "ours": (sys.executable, HERE / "workers" / "sequential_run.py"),
    "rectools": (RECTOOLS, HERE / "peers" / "rectools" / "run.py"),
}


def train(side: str, asked: dict[str, Any], dataset: Dataset, threads: int) -> dict[str, Any]:
    """One run: what it said at its start, after each epoch, and at its end.

    Args:
        side: "ours" or "rectools".
        asked: What the script takes.
        dataset: Split by leave-one-out; the test items are left out.
        threads: Of all libraries.

    Raises:
        InputError: It failed; with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "interactions.npz"
        write(dataset, data)
        command = [*map(str, PROGRAMS[side]), json.dumps(asked), str(data)]
        limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        done = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True, check=False)
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]
    if done.returncode or not said or said[-1]["event"] != "end":
        raise InputError(f"the run of {side} failed: {' '.join(done.stderr.split()[-60:])}")
    return _sorted(said)


def train_here(asked: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """One run of ours in this process, whose threads and memory are then part of the figures."""
    from workers import sequential_run

    said = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "interactions.npz"
        write(dataset, data)
        sequential_run.train(asked, data, lambda event, **figures: said.append({"event": event, **figures}))
    return _sorted(said)


def _sorted(said: list[dict[str, Any]]) -> dict[str, Any]:
    epochs = [one for one in said if one["event"] == "epoch"]
    return {"start": said[0], "epochs": epochs, "end": said[-1]}


def write(dataset: Dataset, path: Path) -> None:
    """Interactions as row numbers, a user after the other and oldest first, without those of the test.

    Args:
        dataset: Any.
        path: Of the arrays user_id, item_id and validation (whether it is a user's validation item). (n,) each
    """
    prepared = Prepared.of(dataset, leave_one_out(dataset))
    order = chronological(prepared.user_rows, dataset.interactions["timestamp"].to_numpy())
    order = order[prepared.split.parts[order] != TEST]
    np.savez(
        path,
        user_id=prepared.user_rows[order],
        item_id=prepared.item_rows[order],
        validation=prepared.split.parts[order] == VALIDATION,
    )
