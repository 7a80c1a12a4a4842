"""What labels are worth: F1 against how many there are, chosen at random or by the matcher (Amazon-Google).

The training pairs are a pool whose labels are bought. Both ways begin with the same random share; then, round by round,
"random" draws as many more, and "active" asks for those that its own matcher of the round before finds most
informative; the first and the last round are the same. Matchers are whole ones, with trees over what records share and
lack. Each trains anew on what is labelled, with about the same number of steps; validation, bought in proportion to the
training pairs, chooses epoch and threshold. Test is read by each round's matcher, once. The mean over seeds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from functools import partial
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

SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
SEEDS = 2

#: training pairs that are read in all by each run, however few are labelled
EXAMPLES = 20_000


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each round's, so that none is made twice")
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
    """The figures of all rounds of one way: label, train, measure, and again with more labels."""
    data = read(name, data_root)
    order = np.random.default_rng([seed, 0]).permutation(len(data.train))
    counts = [round(share * len(order)) for share in shares]
    labelled, rounds = order[: counts[0]], []
    for share, more in zip(shares, np.diff([*counts, counts[-1]]).tolist(), strict=True):
        labelled = np.sort(labelled)  # whatever way led there
        key = [name, EXAMPLES, seed, share, more, hashlib.sha256(labelled.tobytes()).hexdigest()]
        rounds.append(remembered(runs, key, partial(_round, data, labelled, share, more, seed, name)))
        print(f"{way}, seed {seed}: {len(labelled):,} labels, F1 {rounds[-1]['f1']:.2f}", flush=True)
        rest = order[~np.isin(order, labelled)]
        labelled = np.concatenate([labelled, rounds[-1]["asked_for"] if way == "active" else rest[:more]])
    return {"rounds": rounds}


def _round(data: LabelledPairs, labelled: np.ndarray, share: float, more: int, seed: int, name: str) -> dict[str, Any]:
    """What is learned from some labels, and of which pairs so many more are wanted."""
    for_validation = np.random.default_rng([seed, 1]).permutation(len(data.validation))
    part = dataclasses.replace(
        data,
        train=data.train.take(labelled),
        validation=data.validation.take(np.sort(for_validation[: max(20, round(share * len(for_validation)))])),
    )
    epochs = 1 if name == "generated" else round(EXAMPLES / len(labelled))
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
        rest = np.setdiff1d(np.arange(len(data.train)), labelled)
        asked_for = rest[matcher.informative(data.train.take(rest), more, seed)] if more else rest[:0]
    figures = {
        "f1": 100 * result.figures["f1"],
        "labels": len(labelled),
        "bought": len(labelled) + len(part.validation),
    }
    return {**figures, "asked_for": asked_for.tolist()}


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
