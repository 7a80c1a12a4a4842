"""How the settings of `sequential.py` were chosen: trials on validation, one seed each; nothing here reads test.

Each trial changes a data set's starting point in one place, with a schedule that is shorter than that of the final
runs. Its figure is validation NDCG@10 (and HR@10) at the epoch that validation chose.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from kept_runs import remembered, run_all
from report import Report, arguments
from sequence_data import load

from features.prepared import Prepared
from features.splits import make_split
from training.config import load_config
from training.sequential_config import SequentialTrainConfig
from training.sequential_fit import fit

#: where the trials of a data set begin
BASE = {
    "ml-1m": (
        "windows.windows=all windows.batch_size=32 optimiser.lr=2e-3 optimiser.weight_decay=0.01 "
        "optimiser.max_epochs=10 optimiser.validate_every=2 model.layers=2 model.dropout=0.2"
    ),
    "amazon-beauty": (
        "windows.windows=last windows.batch_size=64 optimiser.lr=2e-3 optimiser.weight_decay=0.01 "
        "optimiser.max_epochs=12 optimiser.validate_every=2 model.max_length=50 model.layers=2 model.dropout=0.4"
    ),
    "beauty-bert4rec": (
        "windows.windows=last windows.batch_size=64 optimiser.lr=2e-3 optimiser.weight_decay=0.01 "
        "optimiser.max_epochs=12 optimiser.validate_every=2 model.max_length=50 model.layers=4 model.dropout=0.4 "
        "loss.name=sampled-softmax loss.settings.n_negatives=2048 loss.settings.draw=popularity "
        "loss.settings.logq=true"
    ),
    "generated": "model.dim=16 model.embeddings.width=16 model.layers=1 optimiser.max_epochs=1",
}

#: what each trial changes
TRIALS = {
    "ml-1m": ("model.layers=4", "model.layers=8", "model.layers=8 model.dropout=0.3"),
    "amazon-beauty": (
        "",
        "model.dropout=0.6",
        "model.dim=128 model.embeddings.width=128",
        "model.layers=4",
        "model.backbone=ligr",
    ),
    "beauty-bert4rec": ("", "model.dropout=0.2"),
    "generated": ("",),
}


def main() -> None:
    """Runs all trials, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="trials at a time, of one thread each")
    parser.add_argument(
        "--runs", type=Path, help="a folder that keeps each trial's figures, so that none is made twice"
    )
    parser.add_argument("--only", default="", help="the trials whose data set and settings contain this")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("sequential_search.py: --data-root FOLDER is needed (a folder that holds the data sets)")
    report = Report("sequential_search", quick=options.quick, whole=not options.runs)
    data_sets = ("generated",) if options.quick else tuple(name for name in TRIALS if name != "generated")
    jobs = [
        (str(options.data_root), options.runs, data, trial)
        for data in data_sets
        for trial in TRIALS[data]
        if options.only in f"{data}: {trial}"
    ]
    for (_, _, data, trial), found in run_all(tried, jobs, 1 if options.quick else options.processes):
        settings = {"base": BASE[data], "changed": trial}
        report.add(
            f"{data}/{trial or 'as it begins'}",
            "validation ndcg@10",
            found["ndcg@10"],
            seconds=found["seconds"],
            settings=settings | {"best_epoch": found["best_epoch"]},
        )
        print(f"{data} {trial}: {found['ndcg@10']:.4f} in epoch {found['best_epoch']}", flush=True)
        report.finish(options.out)


def tried(data_root: str, runs: Path | None, data: str, trial: str) -> dict[str, Any]:
    """Best validation figure of one trial."""
    return remembered(runs, ["search", data, BASE[data], trial], lambda: _tried(data_root, data, trial))


def _tried(data_root: str, data: str, trial: str) -> dict[str, Any]:
    dataset = load(data, Path(data_root))
    prepared = Prepared.of(dataset, make_split("leave-one-out", dataset))
    config = load_config(settings=[*BASE[data].split(), *trial.split()], kind=SequentialTrainConfig)
    began = time.perf_counter()
    epochs = []
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(
            config,
            prepared,
            Path(folder),
            progress=False,
            report=lambda figures, epoch: epochs.append((epoch, figures)),
        )
    return {
        "ndcg@10": fitted.validation,
        "best_epoch": fitted.best_epoch,
        "seconds": time.perf_counter() - began,
        "epochs": epochs,
    }


if __name__ == "__main__":
    main()
