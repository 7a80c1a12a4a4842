"""What a training step of a sequential model costs, against the length of histories and the size of the catalogue.

A step is what a fit does with a batch: forward, loss, backward and the optimisers' update, of the tables too. Steps are
timed inside `training.sequential_fit`, which chooses the tables' optimiser as it always does: AdamW for small ones,
fused row-wise Adagrad for large ones. All histories of a batch are equally long, and all batches have as many places,
so that of longer histories there are fewer. Figures are medians over steps, without the first ones.

- length: each backbone, 256 sampled negatives, 10,000 items.
- catalogue: LiGR layers, histories of 50, full and sampled softmax. "peak_gb" is the process's largest resident size by
  then; sizes are measured in ascending order, sampled before full.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import Callback
from report import RESULTS, Report, arguments
from workers.sequential_run import peak_gb

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.splits import TRAIN, Split
from training.config import load_config
from training.sequential_config import SequentialTrainConfig
from training.sequential_fit import fit

PLACES = 4_000
LENGTHS = (50, 100, 200, 500, 1_000, 2_000)
ITEMS = (10_000, 100_000, 1_000_000)
BACKBONES = ("sasrec", "ligr", "hstu")
LOSSES = {
    "sampled": ("loss.name=sampled-softmax", "loss.settings.n_negatives=256"),
    "full": ("loss.name=full-softmax",),
}

#: the first steps are not counted: they also make the optimisers' state
_WARM_UP = 2


def main() -> None:
    """Measures both, prints, writes and draws."""
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=8, help="steps of each case that count")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    report = Report("sequential_costs", quick=options.quick)
    torch.set_num_threads(1 if options.quick else options.threads)
    places, steps = (100, 1) if options.quick else (PLACES, options.steps)
    for items in (100,) if options.quick else ITEMS:  # first, and upwards: a process's peak memory never falls
        few = min(steps, max(2, 3_000_000 // items))  # a step over a million items takes half a minute
        prepared = made(items, 50, max(1, places // 50), few)
        for loss in LOSSES:
            measure(report, f"items-{items}/{loss}", prepared, 50, "ligr", loss, few)
    for length in (20,) if options.quick else LENGTHS:
        prepared = made(10_000, length, max(1, places // length), steps)
        for backbone in ("hstu",) if options.quick else BACKBONES:
            measure(report, f"length-{length}/{backbone}", prepared, length, backbone, "sampled", steps)
    report.finish(options.out)
    if not options.quick:
        draw(report.rows, "length", "places of a history", RESULTS / "sequential_costs_length.png")
        draw(report.rows, "items", "items of the catalogue", RESULTS / "sequential_costs_items.png")


def made(items: int, length: int, batch: int, steps: int) -> Prepared:
    """Histories of random items, each of `length` inputs and as many targets, enough for all steps.

    Args:
        items: N
        length: Inputs of a history.
        batch: B
        steps: That count.
    """
    users = batch * (steps + _WARM_UP)
    rows = np.random.default_rng(0).integers(items, size=users * (length + 1))
    frame = pl.DataFrame({"user_id": np.repeat(np.arange(users), length + 1), "item_id": rows, "timestamp": 0})
    dataset = Dataset.construct("random", frame, items=pl.DataFrame({"item_id": np.arange(items)}))
    parts = np.full(len(rows), TRAIN, dtype=np.uint8)
    return Prepared.of(dataset, Split("none", {}, parts, dataset.interactions))


def measure(report: Report, case: str, prepared: Prepared, length: int, backbone: str, loss: str, steps: int) -> None:
    """Adds a case's seconds a step."""
    batch = len(prepared.users) // (steps + _WARM_UP)
    settings = (
        f"model.backbone={backbone}",
        f"model.max_length={length}",
        "model.dim=64",
        "model.embeddings.width=64",
        f"windows.batch_size={batch}",
        *LOSSES[loss],
    )
    config = load_config(settings=settings, kind=SequentialTrainConfig)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        fit(config, prepared, Path(folder), epochs=1, callbacks=[clock], progress=False)
    seconds = clock.seconds[_WARM_UP:]
    facts: dict[str, Any] = {
        "places": batch * length,
        "threads": torch.get_num_threads(),
        "tables": config.optimiser.for_tables(len(prepared.items) * 64),
        "min": round(min(seconds), 4),
    }
    spread = statistics.stdev(seconds) if len(seconds) > 1 else None
    report.add(case, "seconds_per_step", statistics.median(seconds), spread, len(seconds), settings=facts)
    if case.startswith("items"):
        report.add(case, "peak_gb", peak_gb())
    print(f"{case}: {statistics.median(seconds):.3f} s a step", flush=True)


class Clock(Callback):
    """How long each training step takes, from a batch's arrival to the end of the optimisers' update."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def draw(rows: Sequence[dict[str, Any]], what: str, label: str, path: Path) -> None:
    """Seconds a step against a size, both logarithmic, a line a model or loss.

    Args:
        rows: Of a report.
        what: The cases' first word.
        label: What the size is.
        path: Where the picture goes.
    """
    rows = [row for row in rows if row["metric"] == "seconds_per_step" and row["case"].startswith(f"{what}-")]
    lines: dict[str, list[tuple[int, float, float]]] = {}
    for row in rows:
        size, name = row["case"].removeprefix(f"{what}-").split("/")
        lines.setdefault(name, []).append((int(size), row["mean"], row["sd"] or 0.0))
    figure = Figure(figsize=(5.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for name, points in lines.items():
        sizes, seconds, spreads = zip(*sorted(points), strict=True)
        panel.errorbar(sizes, seconds, spreads, fmt="o-", label=name, capsize=3, lw=1)
    panel.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds a step")
    panel.set_title(f"a training step of {rows[0]['settings']['places']:,} places, d = 64", fontsize=10)
    panel.legend(fontsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"sequential_costs.py: {error}") from None
