"""Two-tower models on MovieLens-1M: collisionless against multiplexed tables, beside popularity and item-kNN.

Protocol of the published figures (a replication of Unified Embedding extended to retrieval): ratings 4-5 are positive,
random 80/10/10 split, one query for each test interaction, ranking over the whole catalogue with the user's training
items removed. Leave-one-out figures of the same settings stand beside them. Settings were chosen on the random split's
validation part by `two_tower_search.py`; the test figures are those of the loaded bundle.

Rows called "validation-known" ask the same trained models under the other usual reading of such a split: a test history
holds the user's validation items too, and they are removed from the ranking, where otherwise they compete with the test
items. Figures of the two must not be compared.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from report import Report, arguments

from features.errors import InputError
from features.prepared import Prepared
from training.bundle_evaluation import evaluate_bundle
from training.config import TrainConfig, load_config
from training.data import prepare
from training.evaluation import evaluate_baselines
from training.runs import RunOptions, run

SEEDS = 3
KINDS = ("collisionless", "multiplexed")
METRICS = ("hr@10", "ndcg@10")
PUBLISHED = "replication of arXiv 2305.12102 (lilyungg/unified-embeddings)"


def main() -> None:
    """Trains, measures, prints and writes."""
    options = arguments(__doc__).parse_args()
    report = Report("two_tower", quick=options.quick)
    if options.quick:
        small = ["data.settings.interactions=1000", "optimiser.max_epochs=1", "model.dim=16", "optimiser.backend=torch"]
        compare(report, "generated", {"data__name": "generated"}, small, seeds=1)
    else:
        if options.data_root is None:
            raise SystemExit("two_tower.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
        given = {"data__name": "ml-1m", "data__root": str(options.data_root / "ml-1m")}
        compare(report, "ml-1m", given, [], SEEDS)
        report.add("ml-1m/collisionless", "hr@10", 0.1319, source=PUBLISHED)
        report.add("ml-1m/multiplexed", "hr@10", 0.1144, source=PUBLISHED)
        compare(report, "ml-1m-leave-one-out", {**given, "split__name": "leave-one-out"}, [], SEEDS)
    report.finish(options.out)


def compare(report: Report, case: str, given: dict, settings: list[str], seeds: int) -> None:
    """Both kinds of table and the baselines on one split; of a random split also with validation items known."""
    prepared = prepare(load_config(settings=settings, **given))
    protocols = {case: prepared}
    if prepared.split.seen == "train":
        protocols[f"{case}-validation-known"] = knowing_validation(prepared)
    for kind in KINDS:
        runs = [
            measure(load_config(settings=[*settings, f"model.embeddings.kind={kind}"], seed=seed, **given), protocols)
            for seed in range(seeds)
        ]
        for protocol, data in protocols.items():
            for metric in METRICS:
                values = [one[protocol][metric] for one in runs]
                found = {"split_hash": data.split.sha256, "parameters": runs[0]["parameters"]}
                report.add_runs(f"{protocol}/{kind}", metric, values, [one["seconds"] for one in runs], found)
    for protocol, data in protocols.items():
        for name, figures in evaluate_baselines(data).items():
            for metric in METRICS:
                report.add(f"{protocol}/{name}", metric, figures[metric], settings={"split_hash": data.split.sha256})


def knowing_validation(prepared: Prepared) -> Prepared:
    """The same models asked later: test histories hold the validation items, which are removed from the ranking."""
    split = dataclasses.replace(prepared.split, seen="train+validation", test_history="train+validation")
    return dataclasses.replace(prepared, split=split)


def measure(config: TrainConfig, protocols: dict[str, Prepared]) -> dict:
    """One run's figures under each protocol, without MLflow; the first protocol is the one it was trained under."""
    (first, prepared), *others = protocols.items()
    with tempfile.TemporaryDirectory() as folder:
        result = run(config, RunOptions(Path(folder) / "run", track=False), prepared)
        out = {first: result.figures} | {name: evaluate_bundle(result.bundle, data) for name, data in others}
    return {**out, "seconds": result.figures["seconds"], "parameters": result.figures["parameters"]}


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"two_tower.py: {error}") from None
