"""How the settings of the click models were chosen: three trials on validation for each row of the table.

What is chosen is the number of look-ups that make an embedding; collisionless tables have one, so there it is the
learning rate. Trials are shorter than the runs they choose for: a pass over MovieLens-1M, four over Frappe. One seed;
nothing here reads the test part. Dropout, decay and the other learning rates (`COMMON` in `multiplexed_ctr.py`) were
chosen before, on the validation part too, with collisionless tables, and are the same for all rows of a data set.
"""

from __future__ import annotations

import functools
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from click_data import load
from kept_runs import remembered, run_all
from multiplexed_ctr import CHOSEN, COMMON, cases, configuration
from report import Report, arguments

from training.ranking_run import fit_ranker

LOOKUPS = [{"lookups": count} for count in (2, 3, 5)]
RATES = [{"lr": rate} for rate in (5e-3, 1e-2, 2e-2)]

SHORT = {"ml-1m": {"max_epochs": 2}, "frappe": {"max_epochs": 4}, "generated": {}}


def main() -> None:
    """Runs all trials, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="rows searched at a time, with one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each trial's figure, so that none is made twice")
    parser.add_argument("--only", default="", help="the rows whose name contains this")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("multiplexed_ctr_search.py: --data-root FOLDER is needed (with ml-1m and frappe in it)")
    report = Report("multiplexed_ctr_search", quick=options.quick, whole=not options.runs)
    data_sets = ("generated",) if options.quick else ("ml-1m", "frappe")
    where = (str(options.data_root), options.runs)
    jobs = [(*where, data, case) for data in data_sets for case in cases(data) if options.only in case]
    chosen: dict[str, dict[str, Any]] = {}
    for (*_, case), trials in run_all(search, jobs, 1 if options.quick else options.processes):
        best = max(trials, key=lambda trial: trial["auc"])
        chosen[case] = best["changed"]
        for trial in trials:
            settings = {**trial["changed"], "best_epoch": trial["best_epoch"], "chosen": trial is best}
            name = " ".join([case, *(f"{key}={value}" for key, value in trial["changed"].items())])
            report.add(name, "validation-auc", trial["auc"], seconds=trial["seconds"], settings=settings)
    report.finish(options.out)
    for case, changed in chosen.items():
        same = "as in CHOSEN" if CHOSEN.get(case) == changed else "not what CHOSEN says"
        print(f"    {case!r}: {changed},  # {same}")


def search(root: str, runs: Path | None, data: str, case: str) -> list[dict[str, Any]]:
    """All trials of one row."""
    torch.set_num_threads(1)
    trials = []
    for changed in RATES if "collisionless" in case else LOOKUPS:
        key = ["trial", case, {**COMMON[data], **changed, **SHORT[data]}]
        trial = remembered(runs, key, functools.partial(attempt, root, data, case, changed))
        trials.append({"changed": changed, **trial})
        print(f"{case} {changed}: {trial['auc']:.4f} at {trial['best_epoch']}, {trial['seconds']:.0f} s", flush=True)
    return trials


def attempt(root: str, data: str, case: str, changed: dict[str, Any]) -> dict[str, Any]:
    """One trial: the validation AUC at its best epoch."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(data, case, {**changed, **SHORT[data]})
        fitted = fit_ranker(config, load(root, data), Path(folder), progress=False)
    return {"auc": fitted.validation, "best_epoch": fitted.best_epoch, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()
