"""What labels are worth: F1 against how many there are, chosen at random or by the matcher (Amazon-Google).

The training pairs are a pool whose labels are bought. Both ways begin with the same random share; then, round by round,
"random" draws as many more, and "active" asks for those that its own matcher of the round before finds most
informative. Each round trains anew on what is labelled, with the same number of steps; validation, bought in proportion
to the training pairs, chooses epoch and threshold. Test is read by each round's matcher, once. The mean over seeds.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from kept_runs import remembered, run_all
from matching_cases import read, tiny_encoder
from report import RESULTS, Report, arguments

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from serving.matching.matcher import Matcher
from serving.resolve import Resolved
from training.config import load_config
from training.matching.config import MatchTrainConfig
from training.matching.run import run
from training.runs import RunOptions

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
SEEDS = 3

#: training pairs that are read in all by each run, however few are labelled
EXAMPLES = 40_000


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each way")
    options = parser.parse_args()
    report = Report("label_efficiency", quick=options.quick, whole=not options.runs)
    name, shares = ("generated", (0.5, 1.0)) if options.quick else ("amazon-google", SHARES)
    seeds = 1 if options.quick else options.seeds
    jobs = [
        (options.data_root, options.runs, name, way, shares, seed)
        for way in ("random", "active")
        for seed in range(seeds)
    ]
    found: dict[str, list[dict[str, Any]]] = {}
    for job, answer in run_all(measure, jobs, 1 if options.quick else options.processes):
        found.setdefault(job[3], []).append(answer)
    for way, answers in found.items():
        for n, share in enumerate(shares):
            rounds = [one["rounds"][n] for one in answers]
            settings = {"share": share, **{name: rounds[0][name] for name in ("labels", "bought")}}
            report.add_runs(f"{name}/{way}-{share:g}", "f1", [one["f1"] for one in rounds], settings=settings)
    report.finish(options.out)
    if not options.quick:
        draw(found, shares, (options.out or RESULTS / "label_efficiency.json").with_suffix(".png"))


def measure(
    data_root: Path | None, runs: Path | None, name: str, way: str, shares: tuple[float, ...], seed: int
) -> dict[str, Any]:
    """The figures of all rounds of one way."""
    key = [name, way, list(shares), EXAMPLES, seed]
    return remembered(runs, key, lambda: {"rounds": rounds(read(name, data_root), way, shares, seed, name)})


def rounds(data: LabelledPairs, way: str, shares: tuple[float, ...], seed: int, name: str) -> list[dict[str, float]]:
    """Label, train, measure; again with more labels."""
    random = np.random.default_rng(seed)
    order, for_validation = random.permutation(len(data.train)), random.permutation(len(data.validation))
    labelled = order[:0]
    found: list[dict[str, float]] = []
    matcher: Matcher | None = None
    for share in shares:
        more = round(share * len(order)) - len(labelled)
        rest = order[~np.isin(order, labelled)]
        if way == "active" and matcher is not None:
            rest = rest[matcher.informative(data.train.take(rest), more, seed)]
        labelled = np.concatenate([labelled, rest[:more]])
        part = dataclasses.replace(
            data,
            train=data.train.take(labelled),
            validation=data.validation.take(np.sort(for_validation[: max(20, round(share * len(for_validation)))])),
        )
        epochs = 1 if name == "generated" else max(5, round(EXAMPLES / len(labelled)))
        settings = [
            f"optimiser.patience={epochs}",
            f"optimiser.max_epochs={epochs}",
            f"optimiser.validate_every={max(1, epochs // 10)}",
        ]
        with tempfile.TemporaryDirectory() as folder:
            if name == "generated":
                settings.append(f"model.encoder.model={tiny_encoder(Path(folder) / 'tiny')}")
            config = load_config(settings=settings, kind=MatchTrainConfig, seed=seed)
            result = run(config, RunOptions(Path(folder) / "run", track=False, progress=False), part)
            matcher = Matcher.of(Resolved(result.bundle, "bought"))
        bought = len(labelled) + len(part.validation)
        found.append({"f1": 100 * result.figures["f1"], "labels": len(labelled), "bought": bought})
        print(f"{way}, seed {seed}: {len(labelled):,} labels, F1 {found[-1]['f1']:.2f}", flush=True)
    return found


def draw(found: dict[str, list[dict[str, Any]]], shares: tuple[float, ...], path: Path) -> None:
    """F1 against labels, a line a way, with each seed's points."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for (way, answers), colour in zip(found.items(), ("#7F7F7F", "#0072B2"), strict=True):
        values = np.array([[one["f1"] for one in answer["rounds"]] for answer in answers])
        labels = [one["bought"] for one in answers[0]["rounds"]]
        axes.plot(labels, values.mean(axis=0), color=colour, label=way)
        axes.plot(labels, values.T, ".", color=colour)
    axes.set(xlabel="labelled pairs, those of validation included", ylabel="F1 on test, percent", xscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"label_efficiency.py: {error}") from None
