"""Items withheld from all training, and how models are asked for them: what benchmarks of cold items share.

A tenth of the items is withheld with all their interactions: half of them for validation, half for test. Each model is
trained once, and asked twice: for withheld items ("cold"), and for each user's last interaction with another ("warm").
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from report import Report

from features.dataset import Dataset
from features.prepared import Prepared
from features.splits import make_split
from recsys.baselines import Baseline
from recsys.retrievers import Retriever
from serving.bundles.bundle import Bundle
from training.bundle_evaluation import evaluate_bundle
from training.config import load_config
from training.evaluation import Evaluation, evaluate
from training.runs import RunOptions, run
from training.sequential_config import SequentialTrainConfig

#: share of the items withheld for validation, and for test
WITHHELD = 0.05

#: which items of a history count, and how much: what baselines that compare items are tried with
KNN_TRIALS: tuple[dict[str, float], ...] = ({}, {"recent": 3}, {"recent": 10}, {"decay": 0.8}, {"decay": 0.5})


@dataclass(frozen=True)
class Trained:
    """What was measured of a model.

    Args:
        figures: On test, by temperature.
        seconds: Of its fit.
        more: What `measure` gave of the model, by temperature.
    """

    figures: dict[str, dict[str, float]]
    seconds: float
    more: dict[str, Any]


def trained(
    settings: Sequence[str],
    seed: int,
    asked: dict[str, Prepared],
    chosen_on: Literal["cold", "warm"],
    measure: Callable[[Retriever, Prepared], Any] | None = None,
) -> Trained:
    """Trains a model, and asks it for both.

    Args:
        settings: Of the run.
        seed: Of the run.
        asked: What `prepared` gave of both.
        chosen_on: Which validation chooses the epoch.
        measure: What else is asked of the model.
    """
    config = load_config(settings=settings, kind=SequentialTrainConfig, seed=seed)
    other = "cold" if chosen_on == "warm" else "warm"
    with tempfile.TemporaryDirectory() as folder:
        result = run(config, RunOptions(Path(folder) / "run", track=False, progress=False), asked[chosen_on])
        both = {chosen_on: result.comparison["sequential"], other: evaluate_bundle(result.bundle, asked[other])}
        more: dict[str, Any] = {}
        if measure is not None:
            model = Bundle.load(result.bundle).model
            more = {temperature: measure(model, one) for temperature, one in asked.items()}
    return Trained(both, result.figures["seconds_to_fit"], more)


def chosen(one: Prepared, ranker: Callable[[dict[str, float]], Baseline]) -> dict[str, Any]:
    """The test figures of what finds most of the validation items among `KNN_TRIALS`, and which that is.

    Args:
        one: The data.
        ranker: Makes the baseline of a trial.
    """

    def of(part: str, trial: dict[str, float]) -> dict[str, Any]:
        evaluation, made = Evaluation(one, part), ranker(trial)
        return evaluate(evaluation, lambda users: made.scorer(evaluation.histories.rows(users)))

    best = max(KNN_TRIALS, key=lambda trial: of("validation", trial)["recall@20"])
    return {**of("test", best), "set": [f"{name}={value}" for name, value in best.items()]}


def report_runs(
    report: Report, answers: Iterable[tuple], add: Callable[[Report, dict[str, list[dict]]], None], out: Path | None
) -> None:
    """Writes what there is after each run, so that one that is cut short leaves the figures so far.

    Args:
        report: Whose rows they become.
        answers: Of `kept_runs.run_all`: each job with its figures by case.
        add: Adds the rows of each case's runs.
        out: Where the report goes.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for _, answer in answers:
        for case, figures in answer.items():
            found.setdefault(case, []).append(figures)
        report.rows.clear()
        add(report, dict(sorted(found.items())))
        report.finish(out)


def prepared(dataset: Dataset) -> Prepared:
    """The parts that `withheld` has said."""
    return Prepared.of(dataset, make_split("given", dataset, validation=0, seen="train+validation"))


def withheld(dataset: Dataset, seed: int = 0) -> dict[str, Dataset]:
    """The same training interactions with cold targets, and with warm ones.

    Each cold target is a user of its own, whose context is what its user had before of items that are not withheld.

    Args:
        dataset: The data.
        seed: Another seed withholds other items.
    """
    log = dataset.interactions.select("user_id", "item_id", "timestamp").with_columns(pl.col("user_id").cast(pl.String))
    items = log["item_id"].unique().sort()
    part = np.full(len(items), "train", dtype=object)
    n = round(WITHHELD * len(items))
    order = np.random.default_rng(seed).permutation(len(items))
    part[order[:n]], part[order[n : 2 * n]] = "validation", "test"
    parts = pl.DataFrame({"item_id": items, "part": pl.Series(part.tolist(), dtype=pl.String)})
    log = log.join(parts, on="item_id", maintain_order="left")

    warm = log.filter(pl.col("part") == "train").sort("user_id", "timestamp", maintain_order=True)
    from_end = pl.int_range(pl.len()).reverse().over("user_id")
    enough = pl.len().over("user_id") >= 3
    last = pl.when(enough & (from_end == 0)).then(pl.lit("test"))
    warm = warm.with_columns(part=last.when(enough & (from_end == 1)).then(pl.lit("validation")).otherwise("part"))
    train = warm.filter(pl.col("part") == "train")

    targets = log.filter(pl.col("part") != "train").with_columns(
        query=pl.format("{}#{}", "user_id", pl.int_range(pl.len()).over("user_id"))
    )
    before = targets.select("user_id", "query", at="timestamp").join(warm.drop("part"), on="user_id")
    before = before.filter(pl.col("timestamp") < pl.col("at")).with_columns(part=pl.lit("context"))
    columns = (pl.col("query").alias("user_id"), "item_id", "timestamp", "part")
    targets = targets.join(before.select("query").unique(), on="query", how="semi")  # of nothing, nothing follows
    cold = pl.concat(
        [train.select("user_id", "item_id", "timestamp", "part"), before.select(columns), targets.select(columns)]
    )
    return {
        name: Dataset.construct(f"{dataset.name}-{name}", frame, dataset.items, schema=_items_alone(dataset))
        for name, frame in (("cold", cold), ("warm", warm))
    }


def _items_alone(dataset: Dataset) -> Any:
    """The declaration without what it says of users: a query is no user of the table."""
    history = tuple(feature for feature in dataset.schema.user if feature.kind == "sequence")
    return type(dataset.schema)(history, dataset.schema.item)
