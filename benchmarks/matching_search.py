"""How the learning rate, the epochs and the batches of `matching.py` were chosen: trials on validation, one seed each.

Trials on Amazon-Google are of a plain fine-tune (the pooled head, no averaging), whose learning rate and epochs became
the matcher's defaults; those on a small set are of both. Each is of the language model alone: trees over what records
share and lack learn by themselves, whatever it has learned. Its figure is validation F1 at the epoch and the threshold
that validation chose; test is not read here.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from kept_runs import remembered, run_all
from matching_cases import CASES, read, tiny_encoder
from report import Report, arguments

from features.errors import InputError
from training.config import load_config
from training.matching.config import MatchTrainConfig
from training.matching.fit import fit_matcher

#: a fine-tune with no tricks
_PLAIN = "model.head=pooled average_epochs=0"

#: what each trial changes, by data set
TRIALS: dict[str, tuple[str, ...]] = {
    "amazon-google": (
        f"{_PLAIN} optimiser.max_epochs=5 optimiser.lr=5e-5",
        f"{_PLAIN} optimiser.max_epochs=5 optimiser.lr=1e-4",
        f"{_PLAIN} optimiser.max_epochs=10 optimiser.lr=1e-4",
        f"{_PLAIN} optimiser.max_epochs=10 optimiser.lr=2e-4",
        f"{_PLAIN} optimiser.max_epochs=5 optimiser.lr=1e-4 model.encoder.pooling=mean",
    ),
    "dirty-itunes-amazon": (
        f"{_PLAIN} optimiser.max_epochs=20 optimiser.lr=5e-5",
        f"{_PLAIN} optimiser.max_epochs=20 optimiser.lr=1e-4",
        "optimiser.max_epochs=15",
        "optimiser.max_epochs=15 batch_size=8",
    ),
    "generated": ("optimiser.max_epochs=1 model.max_tokens=32",),
}


def main() -> None:
    """Runs all trials, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="trials at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each trial's figure, so that none is made twice")
    parser.add_argument("--only", default="", help="the data sets whose name contains this; rows of others stay")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("matching_search.py: --data-root FOLDER is needed (a folder that holds em-pairs)")
    report = Report("matching_search", options.quick, keep=bool(options.only), whole=not options.runs)
    names = ["generated"] if options.quick else [name for name in TRIALS if name in CASES and options.only in name]
    jobs = [(options.data_root, options.runs, name, trial) for name in names for trial in TRIALS[name]]
    for (_, _, name, trial), found in run_all(tried, jobs, 1 if options.quick else options.processes):
        settings = {"changed": trial, "best_epoch": found["best_epoch"]}
        report.add(f"{name}/{trial}", "validation f1", 100 * found["f1"], seconds=found["seconds"], settings=settings)
        print(f"{name} {trial}: {found['f1']:.4f} in epoch {found['best_epoch']}", flush=True)
    report.finish(options.out)


def tried(data_root: Path | None, runs: Path | None, name: str, trial: str) -> dict[str, Any]:
    """The validation figure of one trial."""
    return remembered(runs, ["search", name, trial], lambda: _tried(data_root, name, trial.split()))


def _tried(data_root: Path | None, name: str, settings: list[str]) -> dict[str, Any]:
    data, began = read(name, data_root), time.perf_counter()
    settings = [*settings, "model.overlap=false"]
    with tempfile.TemporaryDirectory() as folder:
        if name == "generated":
            settings = [*settings, f"model.encoder.model={tiny_encoder(Path(folder) / 'tiny')}"]
        config = load_config(settings=settings, kind=MatchTrainConfig)
        trained = fit_matcher(config, data, Path(folder), progress=False)
    seconds = time.perf_counter() - began
    return {"f1": trained.validation["f1"], "best_epoch": trained.best_epoch, "seconds": seconds}


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"matching_search.py: {error}") from None
