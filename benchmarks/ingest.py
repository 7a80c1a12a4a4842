"""How fast, and in how much memory, ten million interactions become training batches.

    python benchmarks/ingest.py [--quick] [--out FILE]

Timed, in a fresh process, on 2 cores: a parquet file of three columns of 8 bytes is read, validated, split at random,
its ids mapped to rows, histories are made, and all training batches are sliced. `peak_over_data` is the largest
resident size less that after imports, over the 240 MB (24 bytes an interaction) of the data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from report import Report, arguments  # noqa: E402

THREADS = 2
BATCH = 8192
#: above 2^53, so that an id which passed through a float anywhere would be another id
FIRST_ID = 9_100_000_000_000_000


def write(folder: Path, interactions: int) -> None:
    """The same log with integer ids and with strings, as `integer/interactions.parquet` and `string/...`."""
    import polars as pl

    from features.sources.catalogue import generate

    log = generate(interactions, integer_ids=True)[0].interactions
    ids = {"user_id": "u", "item_id": "sku-"}
    for case in ("integer", "string"):
        (folder / case).mkdir()
        named = (
            [pl.col(one) + FIRST_ID for one in ids]
            if case == "integer"
            else [(pl.lit(prefix) + pl.col(one).cast(pl.String).str.zfill(7)).alias(one) for one, prefix in ids.items()]
        )
        log.with_columns(named).write_parquet(folder / case / "interactions.parquet")


def measure(folder: Path) -> dict[str, float]:
    """One pass over the data in this process."""
    import numpy as np
    import torch

    from features.prepared import Prepared
    from features.sources import load
    from features.sources import tables as _  # noqa: F401 (imported now, so that it counts as an import)
    from features.splits import random_ratio

    torch.set_num_threads(THREADS)
    before = _memory("VmRSS")
    steps: dict[str, float] = {}
    began = last = time.perf_counter()

    def step(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        steps[name], last = now - last, now

    dataset = load("tables", folder)
    step("read")
    split = random_ratio(dataset)
    step("split")
    prepared = Prepared.of(dataset, split)
    step("map")
    train = prepared.train
    step("histories")
    seen = 0
    users = np.random.default_rng(0).permutation(len(train))
    # so many users that a batch holds about BATCH interactions
    ends = np.searchsorted(np.cumsum(train.lengths[users]), np.arange(BATCH, len(train.values) + BATCH, BATCH)) + 1
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        seen += train.take(users[start:end]).values.numel()
    step("batch")
    seconds = time.perf_counter() - began
    if seen != split.counts["train"]:
        raise RuntimeError(f"the batches hold {seen} interactions, not {split.counts['train']}")
    n = dataset.interactions.height
    return {"n": n, "seconds": seconds, "steps": steps, "bytes": _memory("VmHWM") - before}


def _memory(which: str) -> int:
    """The resident size of this process, in bytes: now (VmRSS) or at its largest (VmHWM)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(which):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {which}")


def _fresh(*command: str) -> str:
    """The last line that a fresh process with this file prints."""
    environment = {**os.environ, "POLARS_MAX_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
    done = subprocess.run(
        [sys.executable, __file__, *command], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip().rsplit("\n", 1)[-1]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--interactions", type=int, help="instead of ten million (200,000 if quick)")
    parser.add_argument("--repetitions", type=int, help="instead of 3 (1 if quick)")
    parser.add_argument("--measure", type=Path, help="(internal) one pass over a folder, in this process")
    options = parser.parse_args()
    interactions = options.interactions or (200_000 if options.quick else 10_000_000)
    if options.measure:
        return print(json.dumps(measure(options.measure)))
    repetitions = options.repetitions or (1 if options.quick else 3)
    report = Report("ingest", options.quick)
    name = "generated-10m" if interactions == 10_000_000 else f"generated-{interactions}"
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), interactions)
        for case in ("integer", "string"):
            runs = [json.loads(_fresh("--measure", str(Path(folder) / case))) for _ in range(repetitions)]
            speeds = [one["n"] / one["seconds"] for one in runs]
            peaks = [one["bytes"] / (24 * one["n"]) for one in runs]
            seconds = [one["seconds"] for one in runs]
            steps = {step: round(min(one["steps"][step] for one in runs), 3) for step in runs[0]["steps"]}
            settings = {"threads": THREADS, "batch": BATCH, "split": "random 80:10:10", "seconds_of_steps": steps}
            for metric, values in (("interactions_per_second", speeds), ("peak_over_data", peaks)):
                mean = sum(values) / len(values)
                sd = (sum((one - mean) ** 2 for one in values) / max(len(values) - 1, 1)) ** 0.5
                report.add(f"{name}/{case}", metric, mean, sd, len(values), sum(seconds) / len(seconds), settings)
            print(f"{name}/{case}: " + ", ".join(f"{step} {took:.2f} s" for step, took in steps.items()))
    report.finish(options.out)


if __name__ == "__main__":
    main()
