"""Items that nobody has taken yet, found by what their texts say, and what that costs where ids are known.

Amazon Beauty, a tenth of the items withheld from all training, with all their interactions, from whitening and from the
tuning of the text encoder: half of them for validation, half for test. "cold" and "warm" are asked as in
`metadata_items.py`. Epochs are chosen on the withheld validation items, those of "ids" on warm ones. "attributes" reads
attributes in place of ids, "attributes-add" these and texts, "all-add" ids as well. "tuned" are the same models over an
encoder that was tuned on pairs of items which training users took near each other. "scaled" have the largest
`model.new_item_scale` that leaves 97% of the warm recall@20 that "ids" has, both on validation. content-kNN compares
attributes, text-kNN texts, each with the settings that the same validation likes best; popularity and random are what
they are called.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cold_protocol import KNN_TRIALS, chosen, prepared, report_runs, trained, withheld
from cold_scale import LOSS, SCALES, chosen_scale, draw, recalls
from kept_runs import remembered, run_all
from report import RESULTS, Report, arguments
from sequence_data import load
from text_cases import BEAUTY, text_config, with_text

from features.errors import InputError
from features.prepared import Prepared
from features.text_pairs import PairsConfig
from recsys.baselines import ContentKNN, ContentKNNConfig, VectorKNN, VectorKNNConfig
from recsys.retrievers import Retriever
from training.evaluation import Evaluation, evaluate, evaluate_baselines
from training.optimisers import OptimiserConfig
from training.text_encoder_config import TextEncoderTrainConfig
from training.text_encoder_run import tune

SEEDS = 3
METRICS = ("recall@20", "ndcg@20", "hr@10", "ndcg@10")

MODELS: dict[str, tuple[str, ...]] = {
    "ids": (),
    "attributes": ("model.items=attributes",),
    "text": ("model.fusion.kind=text",),
    "whitened": ("model.fusion.kind=whitened",),
    "attributes-add": ("model.items=attributes", "model.fusion.kind=add"),
    "add": ("model.fusion.kind=add",),
    "alphafuse": ("model.fusion.kind=alphafuse",),
    "aligned": ("model.fusion.kind=add", "model.fusion.align=con"),
    "all-add": ("model.items=all", "model.fusion.kind=add"),
}

#: those that are also trained over the tuned encoder
TUNED = ("baselines", "text", "attributes-add")

#: baselines in the picture
POINTS = ("content-knn", "text-knn", "text-knn-tuned", "item-knn")

#: pairs that the encoder is tuned with, and for how long
PAIRS = PairsConfig("co-engagement", window=3, per_epoch=5_000)
EPOCHS = 2

QUICK = ("model.dim=16", "model.embeddings.width=16", "model.layers=1", "optimiser.max_epochs=1")


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each model")
    parser.add_argument("--no-tuning", action="store_true", help="leave out the tuned encoder, which takes longest")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("cold_items.py: --data-root FOLDER is needed (a folder that holds amazon-beauty)")
    report = Report("cold_items", quick=options.quick, whole=not options.runs)
    data = "generated" if options.quick else "amazon-beauty"
    with tempfile.TemporaryDirectory() as folder:
        encoders = {"": ""}
        if not options.quick and not options.no_tuning:
            kept = options.runs or Path(folder)
            encoders["-tuned"] = tuned(str(options.data_root), data, kept / "tuned-encoder")
        names = ("text",) if options.quick else ("baselines", *MODELS)
        jobs = [
            (str(options.data_root), options.runs, data, name, suffix, encoder, seed)
            for seed in range(1 if options.quick else options.seeds)
            for suffix, encoder in encoders.items()
            for name in names
            if (seed == 0 or name != "baselines") and (not suffix or name in TUNED)
        ]
        picture = None if options.quick else (options.out or RESULTS / "cold_items.json").with_suffix(".png")
        answers = run_all(measure, jobs, 1 if options.quick else options.processes)
        report_runs(report, answers, functools.partial(add, picture=picture), options.out)


def add(report: Report, found: dict[str, list[dict[str, Any]]], picture: Path | None = None) -> None:
    """The rows of each case, and those of models whose new items are scaled; and the picture of scales."""
    for case, runs in found.items():
        for metric in METRICS:
            report.add_runs(case, metric, [one[metric] for one in runs], settings=runs[0]["settings"])
    scaled = {case: runs for case, runs in found.items() if "recalls" in runs[0]}
    for data in {case.split("/")[0] for case in scaled}:
        add_scaled(report, data, {case.removeprefix(f"{data}/"): runs for case, runs in scaled.items()})
    names = [case.replace("/cold/", "/{}/") for case in found if "/cold/" in case]
    pairs = {name.split("/")[-1]: [found.get(name.format(one)) for one in ("warm", "cold")] for name in names}
    pairs = {name: pair for name, pair in pairs.items() if all(pair)}
    if picture is not None:
        curves = {name: [_mean(one, "test") for one in pair] for name, pair in pairs.items() if "recalls" in pair[0][0]}
        points = {name: [one[0]["recall@20"] for one in pairs[name]] for name in POINTS if name in pairs}
        draw(curves, points, picture)


def add_scaled(report: Report, data: str, found: dict[str, list[dict[str, Any]]]) -> None:
    """Recall with the largest scale that costs few of the warm items which ids alone find, on validation."""
    curves = {case: {part: _mean(runs, part) for part in ("validation", "test")} for case, runs in found.items()}
    if "warm/ids" not in curves:
        return
    least = (1 - LOSS) * curves["warm/ids"]["validation"][SCALES.index(1)]
    for name in [case.removeprefix("warm/") for case in curves if case.startswith("warm/") and case != "warm/ids"]:
        scale = chosen_scale(curves[f"warm/{name}"]["validation"], least)
        if scale is None:
            continue
        for temperature in ("cold", "warm"):
            runs = found[f"{temperature}/{name}"]
            values = [one["recalls"]["test"][SCALES.index(scale)] for one in runs]
            settings = {**runs[0]["settings"], "model.new_item_scale": scale}
            report.add_runs(f"{data}/{temperature}/{name}-scaled", "recall@20", values, settings=settings)


def _mean(runs: list[dict[str, Any]], part: str) -> list[float]:
    """Recall at each scale, the mean of seeds."""
    return np.mean([one["recalls"][part] for one in runs], axis=0).tolist()


def tuned(data_root: str, data: str, folder: Path) -> str:
    """The folder of an encoder that was tuned on what training users took near each other."""
    if not (folder / "encoder").exists():
        one = prepared(withheld(load(data, Path(data_root)))["cold"])
        config = TextEncoderTrainConfig(
            text=text_config(data),
            pairs=PAIRS,
            optimiser=OptimiserConfig(lr=5e-5, weight_decay=0.01, max_epochs=EPOCHS, validate_every=1),
        )
        folder.mkdir(parents=True, exist_ok=True)
        print(tune(config, one, folder, say=lambda line: print(line, flush=True)), flush=True)
    return str(folder / "encoder")


def measure(
    data_root: str, runs: Path | None, data: str, name: str, suffix: str, encoder: str, seed: int
) -> dict[str, dict[str, Any]]:
    """The figures of one model, or of the baselines, by case."""
    own = list(KNN_TRIALS if name == "baselines" else MODELS[name])
    key = [data, name, suffix, seed, list(BEAUTY), own]
    return remembered(runs, key, lambda: _measured(data_root, data, name, suffix, encoder, seed))


def _measured(data_root: str, data: str, name: str, suffix: str, encoder: str, seed: int) -> dict[str, dict[str, Any]]:
    dataset = with_text(load(data, Path(data_root)), text_config(data, model=encoder))
    asked = {temperature: prepared(one) for temperature, one in withheld(dataset).items()}
    settings = [*BEAUTY, "windows.candidates=trained", *MODELS.get(name, ())]
    found: dict[str, dict[str, Any]] = {}
    if name == "baselines":
        for temperature, one in asked.items():
            found |= {f"{temperature}/{row}": figures for row, figures in baselines(one, bool(suffix)).items()}
    else:
        settings += QUICK if data == "generated" else ()
        answer = trained(settings, seed, asked, "warm" if name == "ids" else "cold", by_scale)
        for temperature, figures in answer.figures.items():
            found[f"{temperature}/{name}"] = {**figures, "recalls": answer.more[temperature]}
    return {
        f"{data}/{case}{suffix}": {
            **{metric: figures.get(metric, 0.0) for metric in METRICS},
            **{name: figures[name] for name in ("recalls",) if name in figures},
            "settings": {"set": figures.get("set", settings), "split_hash": asked[case.split("/")[0]].split.sha256},
        }
        for case, figures in found.items()
    }


def by_scale(model: Retriever, one: Prepared) -> dict[str, list[float]]:
    """Recall@20 on validation and test at each of `SCALES`."""
    return {part: recalls(model, Evaluation(one, part)) for part in ("validation", "test")}


def baselines(one: Prepared, texts_alone: bool) -> dict[str, dict[str, Any]]:
    """What needs no training, by name; of a tuned encoder only what reads its vectors."""
    evaluation = Evaluation(one)
    vectors = one.item_table.dense[one.dataset.schema.vector.name]
    by_texts = chosen(one, lambda trial: VectorKNN(VectorKNNConfig(**trial)).fit(vectors))
    if texts_alone:
        return {"text-knn": by_texts}
    embedded = [feature.name for feature in one.dataset.schema.item if feature.embedded and feature.kind != "id"]
    generator = torch.Generator().manual_seed(0)
    n = len(one.items)

    def chance(users: Any) -> Any:
        scores = torch.rand(len(users), n, generator=generator)
        return lambda rows, items: scores[rows, items].clone()

    return {
        **evaluate_baselines(one),
        "content-knn": chosen(one, lambda trial: ContentKNN(ContentKNNConfig(**trial)).fit(one.item_table, embedded)),
        "text-knn": by_texts,
        "random": evaluate(evaluation, chance),
    }


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"cold_items.py: {error}") from None
