"""Click models on one multiplexed table: Table 1 of Unified Embedding on MovieLens-1M, and the same question on Frappe.

DCN-V2 at equal bytes of embeddings: one table for all features (multiplexed) against a hashed table for each feature
(non-multiplexed), with collisionless tables as what both are measured against. A budget counts embedding weights only,
in float32, 1 kB being 1,000 bytes; for Frappe it is a share of what the collisionless tables take.

MovieLens-1M as in the paper (Coleman et al., NeurIPS 2023, arXiv 2305.12102): six fields (user, movie, gender, age,
occupation, zip code), ratings 1-2 against 4-5, threes left out, a random split 80/10/10 by example, one cross layer,
one hidden layer of 192, embeddings of width 30. Frappe: ten fields, its published parts joined and split 80/10/10 anew.

Settings were chosen on validation by `multiplexed_ctr_search.py`, with as many trials for each row of the table. The
split is the same for all runs; seeds differ in initial weights and in the order of examples. Test is read once a run,
with the weights of the epoch that validation chose.

The rows "with one look-up" are the hashing trick as the paper has it, and show its gap between the two kinds of tables.
With the look-ups that validation chose, both gain, and non-multiplexed tables gain more: what is left of the gap is
small. `seconds` are of runs beside other work, and say little.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from click_data import load
from click_plot import draw
from kept_runs import remembered, run_all
from report import RESULTS, Report, arguments

from features.errors import InputError
from recsys.embeddings import EmbeddingPlan
from recsys.ranking import RankerConfig
from training.config import OptimiserConfig
from training.ranking import RankingConfig
from training.ranking_run import train_ranker

SEEDS = 5
PAPER = "arXiv 2305.12102, Table 1"
REPLICATION = "replication of arXiv 2305.12102 (lilyungg/unified-embeddings)"

#: what reports call the kinds of tables, as the paper does
KINDS = {"multiplexed": "multiplexed", "non-multiplexed": "hashed", "collisionless": "collisionless"}

BUDGETS: dict[str, tuple[float | str, ...]] = {
    "ml-1m": ("1.6MB", "791kB", "158kB"),
    "frappe": (1.0, 0.5, 0.1),
    "generated": (0.5,),
}

#: case: (the paper's AUC, the replication's)
PUBLISHED = {
    "ml-1m/multiplexed@1.6MB": (0.8774, 0.8872),
    "ml-1m/multiplexed@791kB": (0.8693, 0.8759),
    "ml-1m/multiplexed@158kB": (0.8200, 0.8263),
    "ml-1m/non-multiplexed@1.6MB": (0.8537, 0.8684),
    "ml-1m/non-multiplexed@791kB": (0.8300, 0.8407),
    "ml-1m/non-multiplexed@158kB": (0.7707, 0.7712),
    "ml-1m/collisionless": (0.8872, 0.8985),
}

#: what all rows of a data set have in common: settings of the run, of the model, of the optimiser, of the plan
COMMON: dict[str, dict[str, Any]] = {
    "ml-1m": {"lr": 1e-2, "max_epochs": 6, "patience": 3, "batch_size": 1024, "epochs_per_pass": 2, "lookups": 2,
              "dropout": 0.3, "embedding_decay": 0.01},
    "frappe": {"lr": 2e-2, "max_epochs": 8, "patience": 3, "batch_size": 512, "lookups": 2, "weight_decay": 0.3},
    "generated": {"lr": 1e-2, "max_epochs": 1, "batch_size": 256},
}  # fmt: skip

#: what the search chose for each row
CHOSEN: dict[str, dict[str, Any]] = {
    "ml-1m/multiplexed@1.6MB": {"lookups": 5},
    "ml-1m/non-multiplexed@1.6MB": {"lookups": 5},
    "ml-1m/multiplexed@791kB": {"lookups": 5},
    "ml-1m/non-multiplexed@791kB": {"lookups": 5},
    "ml-1m/multiplexed@158kB": {"lookups": 3},
    "ml-1m/non-multiplexed@158kB": {"lookups": 5},
    "ml-1m/collisionless": {"lr": 0.02},
    "frappe/multiplexed@1.0": {"lookups": 3},
    "frappe/non-multiplexed@1.0": {"lookups": 5},
    "frappe/multiplexed@0.5": {"lookups": 3},
    "frappe/non-multiplexed@0.5": {"lookups": 5},
    "frappe/multiplexed@0.1": {"lookups": 5},
    "frappe/non-multiplexed@0.1": {"lookups": 5},
    "frappe/collisionless": {"lr": 0.02},
}

#: rows with one look-up a feature, as the paper's hashing trick has them
ONE_LOOKUP = " with one look-up"


def main() -> None:
    """Trains, measures, prints, writes and draws."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--only", default="", help="the rows whose name contains this")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each row")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("multiplexed_ctr.py: --data-root FOLDER is needed (a folder that holds ml-1m and frappe)")
    report = Report("multiplexed_ctr", quick=options.quick, whole=not options.runs)
    data_sets, seeds = (("generated",), 1) if options.quick else (("ml-1m", "frappe"), options.seeds)
    where = (str(options.data_root), options.runs)
    jobs = [(*where, *job) for job in planned(data_sets, seeds) if options.only in job[1]]
    found: dict[str, list[dict[str, Any]]] = {}
    for job, figures in run_all(measure, jobs, 1 if options.quick else options.processes):
        _, _, _, case, _, seed = job
        found.setdefault(case, []).append(figures)
        print(f"{case} seed {seed}: test AUC {figures['auc']:.4f}, {figures['seconds']:.0f} s", flush=True)
        if job is jobs[-1] or seed < jobs[jobs.index(job) + 1][-1]:
            # after each seed, so that a run that is cut short leaves the figures of fewer
            report.rows.clear()
            for case, runs in found.items():
                add(report, case, runs)
            content = report.finish(options.out)
            if not options.quick:
                picture = (options.out or RESULTS / "multiplexed_ctr.json").with_suffix(".png")
                draw(content["rows"], BUDGETS, picture)


def planned(data_sets: Sequence[str], seeds: int) -> list[tuple[str, str, dict[str, Any], int]]:
    """Data set, row, its settings, and seed of each run, all rows of a seed before the next seed."""
    jobs = []
    for seed in range(seeds):
        for data in data_sets:
            jobs += [(data, case, CHOSEN.get(case, {}), seed) for case in cases(data)]
            if data == "ml-1m":
                budgeted = [case.replace("@", f"{ONE_LOOKUP}@") for case in cases(data) if "@" in case]
                jobs += [(data, case, {"lookups": 1}, seed) for case in budgeted]
    return jobs


def cases(data: str) -> list[str]:
    """The rows of a data set, such as "ml-1m/multiplexed@791kB"."""
    budgeted = [f"{data}/{kind}@{budget}" for budget in BUDGETS[data] for kind in ("multiplexed", "non-multiplexed")]
    return [*budgeted, f"{data}/collisionless"]


def configuration(data: str, case: str, changed: dict[str, Any], seed: int = 0) -> RankingConfig:
    """The run of one row.

    Args:
        data: A data set.
        case: One of its `cases`, or such a one with one look-up.
        changed: Settings that are not those of `COMMON`, by their names in whichever part of the configuration.
        seed: Of the run.
    """
    kind, _, budget = case.removeprefix(f"{data}/").replace(ONE_LOOKUP, "").partition("@")
    given = {**COMMON[data], **changed}

    def of(config: type, **fixed: Any) -> Any:
        names = {one.name for one in dataclasses.fields(config)} - {"data"}
        return config(**fixed, **{name: given.pop(name) for name in sorted(names & given.keys())})

    budget = {"budget": next(one for one in BUDGETS[data] if str(one) == budget)} if budget else {}
    plan = of(EmbeddingPlan, kind=KINDS[kind], width=30, **budget)
    model = of(RankerConfig, cross_layers=1, hidden=(192,), embeddings=plan)
    optimiser = of(OptimiserConfig, validate_every=1, backend="torch")
    config = of(RankingConfig, model=model, optimiser=optimiser, seed=seed)
    if given:
        raise InputError(f"there is no setting {next(iter(given))!r}")
    return config


def measure(root: str, runs: Path | None, data: str, case: str, changed: dict[str, Any], seed: int) -> dict[str, Any]:
    """One run's figures, and its settings."""
    settings = {**COMMON[data], **changed}

    def run() -> dict[str, Any]:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            config = configuration(data, case, changed, seed)
            return train_ranker(config, load(root, data), Path(folder), progress=False).figures

    return {**remembered(runs, [case, settings, seed], run), "settings": settings}


def add(report: Report, case: str, runs: list[dict[str, Any]]) -> None:
    """Mean and deviation of a row's runs, and what was published."""
    sizes = {name: runs[0][name] for name in ("embedding_parameters", "parameters")}
    for metric in ("auc", "logloss", "validation_auc"):
        values = [one[metric] for one in runs]
        settings, seconds = {**runs[0]["settings"], **sizes}, [one["seconds"] for one in runs]
        report.add_runs(case, metric.replace("_", "-"), values, seconds, settings)
    for source, auc in zip((PAPER, REPLICATION), PUBLISHED.get(case, ()), strict=False):
        report.add(case, "auc", auc, source=source)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"multiplexed_ctr.py: {error}") from None
