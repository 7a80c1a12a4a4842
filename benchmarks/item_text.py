"""What items' texts add to recommenders that know ids: each way to take them in, beside ids alone and texts alone.

amazon-beauty, a sequential model (HSTU, full softmax), and ml-1m with plots, a two-tower model; leave-one-out, the
whole catalogue ranked, what a user has had removed. The texts are title, brand and categories, and title, year, genres,
director, actors and plot, encoded by the frozen model that the extra `text` brings. "attributes" are the words of
titles, brands and categories in learned tables, in place of ids; "all" are both, and "all-add" the text's vector as
well. Each way is tried once; the way that validation likes best, and ids alone, have the same trials more, of which
validation chooses one, and three seeds.
"text-knn" compares texts, and trains nothing. "rare" are test items with fewer than five training interactions: the
lift of the chosen way over ids alone, mean over seeds, has a 95% interval from drawing users.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from intervals import paired_interval
from kept_runs import remembered, run_all
from report import Report, arguments
from sequence_data import load
from text_cases import ATTRIBUTES, BEAUTY, WAYS, text_config, with_text

from features.errors import InputError
from features.prepared import Prepared
from features.splits import make_split
from recsys.baselines import VectorKNN
from serving.candidates import CandidateGenerator
from training.bundle_evaluation import served_lists
from training.config import TrainConfig, load_config
from training.evaluation import Evaluation, evaluate, evaluate_baselines
from training.runs import RunOptions, run
from training.sequential_config import SequentialTrainConfig

SEEDS = 3
METRICS = ("hr@10", "ndcg@10")

#: an item with fewer training interactions is rare
RARE = 5

#: what models of a data set have in common
MODELS: dict[str, tuple[type, tuple[str, ...]]] = {
    "amazon-beauty": (SequentialTrainConfig, BEAUTY),
    "ml-1m-plots": (TrainConfig, ()),
    "generated": (SequentialTrainConfig, ("model.dim=16", "model.layers=1", "optimiser.max_epochs=1")),
}

#: what ways are tried with, the first of it all of them
TRIALS: dict[str, tuple[tuple[str, ...], ...]] = {
    "amazon-beauty": ((), ("model.dropout=0.5",), ("optimiser.lr=1e-3",)),
    "ml-1m-plots": ((), ("model.dropout=0.2",), ("optimiser.lr=1e-3",)),
    "generated": ((),),
}


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--only", default="", help="the data sets whose name contains this; rows of others stay")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of the chosen way, and of ids alone")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("item_text.py: --data-root FOLDER is needed (a folder that holds amazon-beauty and ml-1m)")
    report = Report("item_text", options.quick, keep=bool(options.only), whole=not options.runs)
    for data in ("generated",) if options.quick else ("amazon-beauty", "ml-1m-plots"):
        if options.only in data:
            compare(report, data, options)
            report.finish(options.out)


def compare(report: Report, data: str, options: Any) -> None:
    """All ways on one data set."""
    where = (str(options.data_root), options.runs, data)
    processes, seeds = (1, 1) if options.quick else (options.processes, options.seeds)
    ways = ("ids", "add") if options.quick else ways_of(data)
    for case, figures in remembered(options.runs, [data, "baselines"], lambda: baselines(*where)).items():
        for metric in METRICS:
            report.add(f"{data}/{case}", metric, figures[metric])
    tried: dict[str, list[tuple[tuple[str, ...], dict]]] = {}

    def attempt(some: Iterable[str], trials: Sequence[tuple[str, ...]]) -> None:
        for job, answer in run_all(measure, [(*where, way, trial, 0) for way in some for trial in trials], processes):
            tried.setdefault(job[3], []).append((job[4], answer))
            print(f"{data}/{job[3]} {' '.join(job[4])}: validation {answer['validation']:.4f}", flush=True)

    def value(way: str) -> float:
        return max(answer["validation"] for _, answer in tried[way])

    attempt(ways, TRIALS[data][:1])
    attempt(("ids", max(set(ways) - {"ids"}, key=value)), TRIALS[data][1:])
    chosen = {way: max(answers, key=lambda one: one[1]["validation"]) for way, answers in tried.items()}
    best = max(set(ways) - {"ids"}, key=value)
    runs = {way: [answer] for way, (_, answer) in chosen.items()}
    more = [(*where, way, chosen[way][0], seed) for seed in range(1, seeds) for way in ("ids", best)]
    for job, answer in run_all(measure, more, processes):
        runs[job[3]].append(answer)
    for way, answers in runs.items():
        settings = {"set": answers[0]["set"], "trials": len(tried[way]), "chosen": way == best}
        for metric in (*METRICS, "validation"):
            values = [one[metric] for one in answers]
            report.add_runs(f"{data}/{way}", metric, values, [one["seconds"] for one in answers], settings)
    with_way, without = (np.mean([list(one["rare"].values()) for one in runs[way]], axis=0) for way in (best, "ids"))
    low, high = paired_interval(with_way - without)
    found = {"low": round(low, 5), "high": round(high, 5), "targets": len(without), "ids": float(without.mean())}
    report.add(f"{data}/{best}-rare", "ndcg@10 lift", float((with_way - without).mean()), settings=found, n=seeds)


def ways_of(data: str) -> dict[str, tuple[str, ...]]:
    """The ways that a data set's model has to take texts in."""
    return WAYS | (ATTRIBUTES if MODELS[data][0] is SequentialTrainConfig else {})


def prepared_of(data_root: str, data: str) -> Prepared:
    """The data with texts, split."""
    dataset = load(data, Path(data_root))
    return Prepared.of(with_text(dataset, text_config(data)), make_split("leave-one-out", dataset))


def measure(
    data_root: str, runs: Path | None, data: str, way: str, trial: tuple[str, ...], seed: int
) -> dict[str, Any]:
    """The figures of one run."""
    kind, common = MODELS[data]
    settings = [*common, *trial, *ways_of(data)[way]]
    return remembered(runs, [data, way, settings, seed], lambda: _measured(data_root, data, kind, settings, seed))


def _measured(data_root: str, data: str, kind: type, settings: list[str], seed: int) -> dict[str, Any]:
    prepared = prepared_of(data_root, data)
    config = load_config(settings=settings, kind=kind, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        result = run(config, RunOptions(Path(folder) / "run", track=False, progress=False), prepared)
        rare = rare_gains(result.bundle, prepared)
    return {
        **{metric: result.figures[metric] for metric in METRICS},
        "validation": result.figures["validation_ndcg@10"],
        "seconds": result.figures["seconds_to_fit"],
        "rare": rare,
        "set": settings,
    }


def rare_gains(bundle: Path, prepared: Prepared) -> dict[str, float]:
    """NDCG@10 of each user whose test item is rare, in the order of their rows."""
    generator, evaluation = CandidateGenerator.load(bundle), Evaluation(prepared)
    targets = evaluation.targets.values[evaluation.targets.offsets[evaluation.users]]
    users = evaluation.users[prepared.item_counts[targets] < RARE]
    gains: dict[str, float] = {}
    for start in range(0, len(users), 1024):
        some = users[start : start + 1024]
        lists = served_lists(generator, evaluation, some, 10).numpy()
        asked = evaluation.targets.values[evaluation.targets.offsets[some]]
        for user, ranked, target in zip(some.tolist(), lists, asked, strict=True):
            at = np.flatnonzero(ranked == target)
            gains[str(user)] = float(1 / np.log2(at[0] + 2)) if len(at) else 0.0
    return gains


def baselines(data_root: str, runs: Path | None, data: str) -> dict[str, dict[str, float]]:
    """Popularity, item-kNN, and texts alone without training."""
    prepared = prepared_of(data_root, data)
    evaluation = Evaluation(prepared)
    texts = prepared.item_table.dense[prepared.dataset.schema.vector.name]
    ranker = VectorKNN().fit(texts)
    return {
        **evaluate_baselines(prepared),
        "text-knn": evaluate(evaluation, lambda users: ranker.scorer(evaluation.histories.rows(users))),
    }


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"item_text.py: {error}") from None
