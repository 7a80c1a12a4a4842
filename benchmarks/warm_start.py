"""New ids after training: going on from an old model with newer data, against the old model alone and training anew.

MovieLens-1M with its real timestamps (users 1 to 2,999), ratings 4-5, cut at a day: four fifths of the interactions
before it, and of the rest the last fifth is for test, the tenth before that for validation. Rows called "launched" are
the same with a fifth of the items withheld from the old part, as if they had come out at the cut.

- *old model*: trained on the old part alone (random split, for its validation).
- *gone on*: that model, trained further on the newer part alone; no table is resized.
- *newer alone*: trained anew on the newer part, for what the start is worth.
- *anew*: trained anew on everything.

All are asked the same, on the newer test part: a user's history holds all interactions until then, old ones included,
and they are removed from the ranking; of items or values that a model does not know it is told nothing. "old items":
targets and rankings are the items that the old model has. "new items": targets are the others, among all items.

The learning rate of going on was chosen among three on the newer validation part, by `--search`; whatever begins from
random weights has the default.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from report import Report, arguments

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.sources import load
from features.splits import by_time, random_ratio
from recsys.baselines import ItemKNN, Popularity
from recsys.top_k import Scorer
from serving.bundles.bundle import Bundle
from training.config import load_config
from training.evaluation import Evaluation, ModelScores
from training.retention import AsBundle, EvaluationOf, measured, only_among
from training.runs import RunOptions, RunResult, run
from training.warm_start import WarmStart

ScorerOf = Callable[[np.ndarray], Scorer]

REAL_TIMES = "ratings_real_timestamps_users_1_to_2999.dat"
METRICS = ("hr@10", "ndcg@10")
#: learning rates: the default, those tried for going on, and the one chosen
DEFAULT, TRIED, CHOSEN = 3e-3, (3e-3, 1e-3, 3e-4), 3e-4


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--search", action="store_true", help="print validation figures of learning rates, and end")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: %(default)s)")
    options = parser.parse_args()
    report = Report("warm_start", quick=options.quick)
    if options.quick:
        small = ["optimiser.max_epochs=1", "model.dim=16", "model.embeddings.width=16", "optimiser.backend=torch"]
        compare(report, "generated", Days.of(load("generated", interactions=1000), launch=0.2), small, seeds=1)
    else:
        if options.data_root is None:
            raise SystemExit("warm_start.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
        whole = load("ml-1m", options.data_root / "ml-1m", ratings_file=REAL_TIMES)
        if options.search:
            return search(whole)
        compare(report, "ml-1m", Days.of(whole), [], options.seeds)
        compare(report, "ml-1m-launched", Days.of(whole, launch=0.2), [], options.seeds)
    report.finish(options.out)


@dataclass(frozen=True)
class Days:
    """A data set cut at a day.

    Args:
        older: What the old model is trained on: the users and items that somebody had met until then.
        newer: What came after, with the whole catalogue.
        everything: Both together; validation and test are those of `newer`.
    """

    older: Prepared
    newer: Prepared
    everything: Prepared

    @classmethod
    def of(cls, whole: Dataset, launch: float = 0.0) -> Days:
        """Cuts at four fifths.

        Args:
            whole: The data set.
            launch: Share of the items that nobody had before the cut.
        """
        random = np.random.default_rng(0)
        launched = whole.items["item_id"].filter(pl.Series(random.random(whole.items.height) < launch))
        day = int(whole.interactions["timestamp"].quantile(0.8))
        before = pl.col("timestamp") < day
        old = _part(whole, whole.interactions.filter(before & ~pl.col("item_id").is_in(launched.implode())))
        old = dataclasses.replace(
            old, items=old.items.filter(pl.col("item_id").is_in(old.interactions["item_id"].unique().implode()))
        )
        new = _part(whole, whole.interactions.filter(~before))
        both = _part(whole, pl.concat([old.interactions, new.interactions]))
        split = by_time(new, validation=0.1, test=0.2)
        return cls(
            Prepared.of(old, random_ratio(old, 0.9, 0.09)),
            Prepared.of(new, split),
            Prepared.of(both, by_time(both, **split.settings)),
        )


def _part(whole: Dataset, log: pl.DataFrame) -> Dataset:
    """Some interactions, with the users that they mention and all items."""
    users = whole.users.filter(pl.col("user_id").is_in(log["user_id"].unique().implode()))
    return Dataset.construct(whole.name, log, whole.items, users, whole.schema)


def compare(report: Report, case: str, days: Days, settings: list[str], seeds: int) -> None:
    """All ways of coping with a newer day, and baselines that know everything."""
    runs = [trained(days, settings, seed) for seed in range(seeds)]
    old = runs[0]["old model"]["items"]
    facts = {
        "split_hash": days.everything.split.sha256,
        "new_items": int((~old).sum()),
        "new_users": len(days.everything.users) - len(days.older.users),
    }
    for way in runs[0]:
        for figure in runs[0][way]["figures"]:
            values = [one[way]["figures"][figure] for one in runs]
            told = {**facts, "parameters": runs[0][way]["parameters"], "lr": runs[0][way]["lr"]}
            report.add_runs(f"{case}/{way}", figure, values, [one[way]["seconds"] for one in runs], told)
    histories = days.everything.test_histories
    for name, baseline in (("popularity", Popularity()), ("item-knn", ItemKNN())):
        fitted = baseline.fit(days.everything.train, len(days.everything.items))
        known = asked(days.everything, old, lambda _, by=fitted: lambda users: by.scorer(histories.rows(users)))
        for figure, value in known.items():
            report.add(f"{case}/{name}", figure, value, settings=facts)


def trained(days: Days, settings: list[str], seed: int) -> dict[str, dict]:
    """Each way's figures, from one seed."""
    with tempfile.TemporaryDirectory() as folder:
        results = {way: (rate, one) for way, rate, one in ways(days, settings, seed, Path(folder), (CHOSEN,))}
        old = WarmStart.load(results["old model"][1].bundle).bundle.items.rows(days.everything.items.ids) >= 0  # (N,)
        return {
            way: {
                "items": old,
                "figures": answered(days.everything, old, Bundle.load(result.bundle)),
                "seconds": result.figures["seconds_to_fit"],
                "parameters": result.figures["parameters"],
                "lr": rate,
            }
            for way, (rate, result) in results.items()
        }


def ways(
    days: Days, settings: list[str], seed: int, folder: Path, rates: tuple[float, ...]
) -> Iterator[tuple[str, float, RunResult]]:
    """Trains in every way; of going on, with each of some learning rates."""
    config = load_config(settings=settings, seed=seed)
    first = run(config, RunOptions(folder / "old", track=False), days.older)
    yield "old model", DEFAULT, first
    start = WarmStart.load(first.bundle)
    same = dataclasses.replace(config, model=start.config)
    for rate in rates:
        tuned = dataclasses.replace(same, optimiser=dataclasses.replace(config.optimiser, lr=rate))
        yield "gone on", rate, run(tuned, RunOptions(folder / f"on-{rate}", track=False), days.newer, start)
    # with a table of the size of the one that is gone on with
    yield "newer alone", DEFAULT, run(same, RunOptions(folder / "newer", track=False), days.newer)
    yield "anew", DEFAULT, run(config, RunOptions(folder / "anew", track=False), days.everything)


def search(whole: Dataset) -> None:
    """Prints the validation figures of the learning rates."""
    for launch in (0.0, 0.2):
        with tempfile.TemporaryDirectory() as folder:
            for way, rate, result in ways(Days.of(whole, launch), [], 0, Path(folder), TRIED):
                if way == "newer alone":
                    break
                found = result.figures["validation_ndcg@10"]
                print(f"launched {launch:.1f}  {way:<12} lr {rate:g}: NDCG@10 {found:.4f}", flush=True)


def answered(prepared: Prepared, old: np.ndarray, bundle: Bundle) -> dict[str, float]:
    """A bundle's figures, as far as it knows the users, items and values of this data."""
    seen = AsBundle.seen_by(prepared, bundle)
    return asked(seen, old, lambda evaluation: ModelScores(bundle.model, evaluation).scorer)


def asked(prepared: Prepared, old: np.ndarray, scores_of: Callable[[Evaluation], ScorerOf]) -> dict[str, float]:
    """Figures over all targets, over old ones among old items, and over new ones among all items.

    Args:
        prepared: The data; its test part is asked for.
        old: Which items are old. (N,) bool
        scores_of: From an evaluation to what gives the scorer of some users.
    """
    every = np.ones_like(old)
    figures = {}
    for name, wanted, ranked in (("", every, every), ("old items ", old, old), ("new items ", ~old, every)):
        evaluation = EvaluationOf(prepared, wanted)
        found = measured(evaluation, only_among(scores_of(evaluation), ranked))
        figures |= {f"{name}{metric}": found[metric] for metric in (*METRICS, "queries") if found}
    return figures


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"warm_start.py: {error}") from None
