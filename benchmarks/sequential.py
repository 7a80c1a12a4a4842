"""Next-item recommendation, leave-one-out, the whole catalogue ranked for every user: our models beside published ones.

ml-1m is the sequence file of the SASRec and BERT4Rec repositories, amazon-beauty the 5-core set of S3-Rec, TIGER and
eSASRec, beauty-bert4rec the larger set of the BERT4Rec repository. Each user's last item is for test and the one before
for validation; a test history holds the validation item. What a user has had is removed from the ranking, as the
published figures have it; the metrics called "kept" are of the same lists with nothing removed. Models read ids and
their order alone, but for the case ml-1m-real-time: the users whose true timestamps are known, where "hstu-request"
knows the moment when the next item is asked for ("request time known"), as HSTU's published figures do.

Settings were chosen on validation by `sequential_search.py`. The epoch is the one that validation chose, the figures
are those of the loaded bundle, and test is read once a run. Rows of three seeds have deviations, the others are one
run. `seconds` are of whole runs beside other work, and say little: see `sequential_speed.py`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import torch
from kept_runs import remembered, run_all
from report import Report, arguments
from sequence_data import load
from sequential_cases import CASES, PUBLISHED, Case

from features.errors import InputError
from features.prepared import Prepared
from features.splits import make_split
from recsys.baselines import EASE, EASEConfig
from training.bundle_evaluation import evaluate_bundle
from training.config import load_config
from training.evaluation import Evaluation, evaluate, evaluate_baselines
from training.runs import RunOptions, run
from training.sequential_config import SequentialTrainConfig

METRICS = ("hr@10", "ndcg@10")

#: what is reported of data whose published figures are others
METRICS_OF = {"diginetica": ("recall@20", "mrr@20", *METRICS)}

#: how data are split that do not come with a user's whole history
SPLITS = {"diginetica": ("given", {"seed": "latest"})}

#: what EASE's ridge is chosen from, on validation
RIDGES = (100.0, 300.0, 1000.0, 3000.0)

#: catalogues up to this have EASE's closed form, which inverts a matrix of items x items
EASE_ITEMS = 15_000


def main() -> None:
    """Trains, measures, prints and writes; after each run, so that one that is cut short leaves the figures so far."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--only", default="", help="the cases whose name contains this")
    parser.add_argument("--seeds", type=int, help="runs of each case, where that is fewer than it has")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit(
            "sequential.py: --data-root FOLDER is needed (a folder that holds sequences and amazon-beauty)"
        )
    report = Report("sequential", quick=options.quick, whole=not options.runs)
    chosen = {name: case for name, case in CASES.items() if options.only in name and case.quick == options.quick}
    where = (str(options.data_root), options.runs)
    jobs = [
        (*where, name, case, seed)
        for seed in range(max((case.seeds for case in chosen.values()), default=0))
        for name, case in chosen.items()
        if seed < min(case.seeds, options.seeds or case.seeds)
    ]
    jobs += [(*where, f"{data}/baselines", None, 0) for data in dict.fromkeys(name.split("/")[0] for name in chosen)]
    found: dict[str, list[dict[str, Any]]] = {}
    for job, answer in run_all(measure, jobs, 1 if options.quick else options.processes):
        _, _, name, case, seed = job
        for row, figures in answer.items():
            found.setdefault(row, []).append(figures)
        if case is not None:
            told = answer[name]
            print(f"{name} seed {seed}: test NDCG@10 {told['ndcg@10']:.4f}, {told['seconds']:.0f} s", flush=True)
        report.rows.clear()
        for row in sorted(found):
            add(report, row, found[row])
        for row, figures in PUBLISHED.items():
            if not options.quick:
                for metric, value in zip(METRICS, figures[:2], strict=True):
                    report.add(row, metric, value, source=figures[2])
        report.finish(options.out)


def add(report: Report, case: str, runs: list[dict[str, Any]]) -> None:
    """The rows of one case."""
    for metric in (name for name in runs[0]["metrics"]):
        values = [one["metrics"][metric] for one in runs]
        report.add_runs(case, metric, values, [one["seconds"] for one in runs], runs[0]["settings"])


def measure(data_root: str, runs: Path | None, name: str, case: Case | None, seed: int) -> dict[str, dict[str, Any]]:
    """The figures of one run, or of a data set's baselines, by case."""
    key = [name, seed, *([] if case is None else [list(case.settings)])]
    return remembered(runs, key, lambda: _measured(data_root, name, case, seed))


def _measured(data_root: str, name: str, case: Case | None, seed: int) -> dict[str, dict[str, Any]]:
    data = name.partition("/")[0]
    dataset = load(data, Path(data_root))
    split, settings = SPLITS.get(data, ("leave-one-out", {}))
    prepared = Prepared.of(dataset, make_split(split, dataset, **settings))
    return _baselines(data, prepared) if case is None else {name: _run(data, prepared, case, seed)}


def _run(data: str, prepared: Prepared, case: Case, seed: int) -> dict[str, Any]:
    """One model's figures, with what was seen removed and, where anything was, kept."""
    config = load_config(settings=case.settings, kind=SequentialTrainConfig, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        result = run(config, RunOptions(Path(folder) / "run", track=False, progress=False), prepared)
        official = result.comparison["sequential"]
        metrics = {name: official[name] for name in METRICS_OF.get(data, METRICS)}
        if prepared.split.seen != "none":
            kept = dataclasses.replace(prepared, split=dataclasses.replace(prepared.split, seen="none"))
            unfiltered = evaluate_bundle(result.bundle, kept)
            metrics |= {f"{name} kept": unfiltered[name] for name in METRICS}
    figures = result.figures
    return {
        "metrics": metrics | {name: figures[name] for name in ("validation_ndcg@10", "best_epoch")},
        "seconds": figures["seconds_to_fit"],
        "ndcg@10": figures["ndcg@10"],
        "settings": {
            "set": list(case.settings),
            "parameters": figures["parameters"],
            "split_hash": figures["split_hash"],
            "threads": torch.get_num_threads(),
        },
    }


def _baselines(data: str, prepared: Prepared) -> dict[str, dict[str, Any]]:
    """Popularity, item-kNN, and EASE where its matrix fits, with the ridge that validation likes best."""
    found = {name: (figures, {}) for name, figures in evaluate_baselines(prepared).items()}
    if len(prepared.items) <= EASE_ITEMS:
        fitted = {ridge: EASE(EASEConfig(ridge)).fit(prepared.train, len(prepared.items)) for ridge in RIDGES}
        validation, test = Evaluation(prepared, "validation"), Evaluation(prepared)
        asked = {
            ridge: evaluate(validation, lambda users, one=one: one.scorer(validation.histories.rows(users)))["ndcg@10"]
            for ridge, one in fitted.items()
        }
        best = max(asked, key=asked.get)
        figures = evaluate(test, lambda users: fitted[best].scorer(test.histories.rows(users)))
        found["ease"] = (figures, {"l2": best})
    return {
        f"{data}/{name}": {
            "metrics": {metric: figures[metric] for metric in METRICS_OF.get(data, METRICS)},
            "seconds": 0.0,
            "settings": {**settings, "split_hash": prepared.split.sha256},
        }
        for name, (figures, settings) in found.items()
    }


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"sequential.py: {error}") from None
