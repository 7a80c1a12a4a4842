"""Items that nobody has taken yet: next-item models that read attributes alone, and what they lose where ids are known.

Amazon Beauty, a tenth of the items withheld from all training, with all their interactions: half of them for
validation, half for test. "cold" asks, for each interaction with a withheld test item, to find it among the whole
catalogue from what the same user had before it. "warm" asks for each user's last interaction with another item, whose
last two are not trained on, in the same way. What a user has had is removed from rankings. A model of items by their
"attributes" (brand, categories, words of the title) is M2TRec's, "heads" adds its auxiliary tasks; "all" also has
vectors for ids; "id" has nothing else. Epochs are chosen on the withheld validation items, those of "id" on warm ones.
Popularity and item-kNN cannot find what nobody has taken; content-kNN compares the attributes of what a user has had,
with the settings that the same validation likes best.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cold_protocol import KNN_TRIALS, chosen, prepared, report_runs, trained, withheld
from kept_runs import remembered, run_all
from report import Report, arguments
from sequence_data import load

from features.errors import InputError
from features.prepared import Prepared
from recsys.baselines import ContentKNN, ContentKNNConfig
from training.evaluation import evaluate_baselines

SEEDS = 3
METRICS = ("recall@20", "ndcg@20", "hr@10", "ndcg@10")

COMMON = (
    "windows.candidates=trained",
    "model.max_length=50",
    "model.combine=sum",
    "optimiser.max_epochs=20",
    "optimiser.validate_every=2",
)

MODELS = {
    "attributes": ("model.items=attributes",),
    "attributes-heads": ("model.items=attributes", "model.also_predict=[category,subcategory]"),
    "all": ("model.items=all",),
    "id": ("model.items=id",),
}

QUICK = ("model.dim=16", "model.embeddings.width=16", "model.layers=1", "optimiser.max_epochs=1")


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each model")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("metadata_items.py: --data-root FOLDER is needed (a folder that holds amazon-beauty)")
    report = Report("metadata_items", quick=options.quick, whole=not options.runs)
    data = "generated" if options.quick else "amazon-beauty"
    names = ("attributes",) if options.quick else ("baselines", *MODELS)
    jobs = [
        (str(options.data_root), options.runs, data, name, seed)
        for seed in range(1 if options.quick else options.seeds)
        for name in names
        if seed == 0 or name != "baselines"
    ]
    report_runs(report, run_all(measure, jobs, 1 if options.quick else options.processes), add, options.out)


def add(report: Report, found: dict[str, list[dict[str, Any]]]) -> None:
    """The rows of each case."""
    for case, runs in found.items():
        for metric in METRICS:
            values = [one[metric] for one in runs]
            report.add_runs(case, metric, values, [one["seconds"] for one in runs], runs[0]["settings"])


def measure(data_root: str, runs: Path | None, data: str, name: str, seed: int) -> dict[str, dict[str, Any]]:
    """The figures of one model, or of the baselines, by case."""
    key = [data, name, seed, list(COMMON), list(KNN_TRIALS if name == "baselines" else MODELS[name])]
    return remembered(runs, key, lambda: _measured(data_root, data, name, seed))


def _measured(data_root: str, data: str, name: str, seed: int) -> dict[str, dict[str, Any]]:
    dataset = load(data, Path(data_root))
    asked = {temperature: prepared(one) for temperature, one in withheld(dataset).items()}
    found: dict[str, dict[str, Any]] = {}
    seconds, settings = 0.0, [*COMMON, *MODELS.get(name, ()), *(QUICK if data == "generated" else ())]
    if name == "baselines":
        for temperature, one in asked.items():
            found |= {f"{temperature}/{row}": figures for row, figures in baselines(one).items()}
    else:
        answer = trained(settings, seed, asked, "warm" if name == "id" else "cold")
        found = {f"{temperature}/{name}": figures for temperature, figures in answer.figures.items()}
        seconds = answer.seconds
    return {
        f"{data}/{case}": {
            **{metric: figures[metric] for metric in METRICS},
            "seconds": seconds,
            "settings": {"set": figures.get("set", settings), "split_hash": asked[case.split("/")[0]].split.sha256},
        }
        for case, figures in found.items()
    }


def baselines(one: Prepared) -> dict[str, dict[str, Any]]:
    """Popularity, item-kNN and content-kNN, by name."""
    embedded = [feature.name for feature in one.dataset.schema.item if feature.embedded and feature.kind != "id"]
    content = chosen(one, lambda trial: ContentKNN(ContentKNNConfig(**trial)).fit(one.item_table, embedded))
    return {**evaluate_baselines(one), "content-knn": content}


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"metadata_items.py: {error}") from None
