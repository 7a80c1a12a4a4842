"""How the two-tower settings were chosen: trials on validation, as many for multiplexed tables as for collisionless.

Each trial changes the defaults in one place and is one seed; its figure is validation NDCG@10 (and HR@10) at the epoch
that validation chose. The baseline's settings are searched too. Nothing here reads the test part.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

from report import Report, arguments

from features.prepared import Prepared
from recsys.baselines import ItemKNN, ItemKNNConfig
from training.config import load_config
from training.data import prepare
from training.evaluation import Evaluation, ModelScores, evaluate
from training.two_tower_fit import fit

KINDS = ("collisionless", "multiplexed")

#: what each trial changes
TRIALS = (
    "",
    "model.tie_history=true",
    "model.similarity=dot",
    "model.dim=128 model.embeddings.width=128",
    "examples.target_share=0.5",
    "loss.settings.hide_positives=false",
    "optimiser.weight_decay=1.0",
    "examples.candidates=trained",
)

QUICK = ("optimiser.max_epochs=1", "model.dim=16", "optimiser.backend=torch")

NEIGHBOURS, SHRINKAGE = (50, 100, 200), (0.0, 10.0, 50.0)


def main() -> None:
    """Runs all trials, prints and writes."""
    options = arguments(__doc__).parse_args()
    report = Report("two_tower_search", quick=options.quick)
    if options.quick:
        given, trials = ["data.settings.interactions=1000", *QUICK], TRIALS[:1]
        case = "generated"
    else:
        if options.data_root is None:
            raise SystemExit("two_tower_search.py: --data-root FOLDER is needed (a folder that holds ml-1m)")
        given, trials = ["data.name=ml-1m", f"data.root={options.data_root / 'ml-1m'}"], TRIALS
        case = "ml-1m"
    prepared = prepare(load_config(settings=given))
    for trial, kind in itertools.product(trials, KINDS):
        config = load_config(settings=[*given, f"model.embeddings.kind={kind}", *trial.split()])
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            fitted = fit(config, prepared, Path(folder), progress=False)
        seconds = time.perf_counter() - began
        evaluation = Evaluation(prepared, "validation")
        figures = evaluate(evaluation, ModelScores(fitted.model, evaluation).scorer)
        settings = {"changed": trial or "nothing", "best_epoch": fitted.best_epoch}
        for metric in ("ndcg@10", "hr@10"):
            report.add(f"{case}/{kind} {trial}".strip(), metric, figures[metric], seconds=seconds, settings=settings)
        print(f"{kind} {trial}: {figures['ndcg@10']:.4f} {figures['hr@10']:.4f} {seconds:.0f} s", flush=True)
    search_baseline(report, case, prepared)
    report.finish(options.out)


def search_baseline(report: Report, case: str, prepared: Prepared) -> None:
    """Item-kNN's settings on the same validation part."""
    evaluation = Evaluation(prepared, "validation")
    for neighbours, shrinkage in itertools.product(NEIGHBOURS, SHRINKAGE):
        model = ItemKNN(ItemKNNConfig(neighbours, shrinkage)).fit(prepared.train, len(prepared.items))
        figures = evaluate(evaluation, lambda users, model=model: model.scorer(evaluation.histories.rows(users)))
        for metric in ("ndcg@10", "hr@10"):
            report.add(f"{case}/item-knn {neighbours} {shrinkage:g}", metric, figures[metric])


if __name__ == "__main__":
    main()
