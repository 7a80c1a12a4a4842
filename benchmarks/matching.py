"""How well pairs of records are told apart: Ditto over a small encoder, part by part, on the published splits.

em-pairs: official training, validation and test pairs. Every run chooses its epoch, its threshold and its calibration
on validation, and reads test once, at that threshold. "plain" is a fine-tune of the encoder with no tricks,
"compared" the language model as it comes; the other parts of `matching_cases.py` are each put on that alone, and
"all" has Ditto's together. A matcher joins its language model's word with that of boosted trees over what records
share and lack: "f1" and all else is of both together, "f1_language_model" and "f1_overlap" are of either by itself,
each at its own threshold from validation. "full" is the part that validation likes best on most of the three sets
where all are tried, the same for every set. F1, precision and recall are in percent; sets with few test pairs have an
interval from drawing pairs (95%, of the mean over seeds). "unseen" are test pairs with a record that training has not
seen. Calibration: expected error before and after, and what became of asked precisions.
Ditto's published figures are of RoBERTa, five times as large.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from intervals import drawn_interval
from kept_runs import remembered, run_all
from matching_cases import ABLATED, CASES, CONTROLS, PARTS, read, tiny_encoder
from report import RESULTS, Report, arguments

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from recsys.matching.calibration import probabilities, reliability
from recsys.matching.ditto import log_odds
from recsys.matching.thresholds import best_f1, decide
from serving.matching.matcher import Matcher
from serving.resolve import Resolved
from training.config import load_config
from training.matching.config import MatchTrainConfig
from training.matching.run import run
from training.plots.calibration import reliability as reliability_picture
from training.plots.style import saved
from training.runs import RunOptions

#: what is reported in percent, and what as it is
PERCENT = ("f1", "f1_language_model", "f1_overlap", "precision", "recall", "f1_seen", "f1_unseen")
PLAIN = (
    *("auc", "calibration_error", "calibration_error_before", "pairs_per_second"),
    *("validation_f1", "validation_f1_language_model", "validation_f1_overlap"),
)

#: sets of fewer test pairs that are the same have an interval
FEW = 50

QUICK = ("optimiser.max_epochs=1", "model.max_tokens=32")


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--only", default="", help="the data sets whose name contains this; rows of others stay")
    parser.add_argument("--parts", default=",".join(PARTS), help="of the compared ones (default: %(default)s)")
    parser.add_argument("--full", choices=tuple(PARTS), help="the part that is taken where it would be chosen first")
    options = parser.parse_args()
    report = Report("matching", options.quick, keep=bool(options.only), whole=not options.runs)
    names = ["generated"] if options.quick else [name for name in CASES if options.only in name]
    options.full = full = options.full or ("plain" if options.quick else chosen_part(options))
    for name in names:
        parts = ["plain"] if options.quick else list(dict.fromkeys(["plain", full]))
        if name in ABLATED:
            parts = options.parts.split(",")
        for part in parts:
            answers = runs_of(options, name, part)
            add(report, name, part, answers)
            if part == full:
                add(report, name, "full", answers)
        if (case := CASES.get(name)) is not None and case.published is not None:
            report.add(f"{name}/ditto", "f1", case.published, source="Li et al., PVLDB 14(1), 2020")
        report.finish(options.out)
        if not options.quick:
            draw(name, runs_of(options, name, full), (options.out or RESULTS / "matching.json").parent)


def draw(name: str, answers: Sequence[dict[str, Any]], folder: Path) -> None:
    """How often what was given a chance came true, before and after calibration; all runs together."""
    labels = np.concatenate([one["labels"] for one in answers]).astype(bool)
    curves = {
        said: reliability(probabilities(np.concatenate([one["log_odds"][kind] for one in answers])), labels, bins=10)
        for said, kind in (("as stated", "together"), ("calibrated", "calibrated"))
    }
    saved(reliability_picture(curves), folder / f"matching-{name}.png")


def chosen_part(options: Any) -> str:
    """The part that validation liked best on most of the compared data sets; of equals, by its mean."""
    values = {
        part: [np.mean([one["validation_f1"] for one in runs_of(options, name, part)]) for name in ABLATED]
        for part in options.parts.split(",")
        if part not in CONTROLS
    }
    best = [max(values, key=lambda part: values[part][n]) for n in range(len(ABLATED))]
    return max(values, key=lambda part: (best.count(part), np.mean(values[part])))


def runs_of(options: Any, name: str, part: str) -> list[dict[str, Any]]:
    """The figures of each seed."""
    seeds = 1 if options.quick or part in CONTROLS else CASES[name].seeds
    if part not in ("plain", options.full):
        seeds = min(seeds, 3)
    jobs = [(options.data_root, options.runs, name, part, seed) for seed in range(seeds)]
    return [answer for _, answer in run_all(measure, jobs, 1 if options.quick else options.processes)]


def add(report: Report, name: str, part: str, answers: Sequence[dict[str, Any]]) -> None:
    """The rows of one part."""
    settings = {"set": answers[0]["set"], "split_hash": answers[0]["split_hash"]}
    named = sorted({name for one in answers for name in one})
    wanted = [one for one in named if one.startswith(("precision_at_", "recall_at_"))]  # n says how many reached it
    for metric in (*PERCENT, *PLAIN, *wanted):
        values = [one[metric] * (100 if metric in PERCENT else 1) for one in answers if metric in one]
        if values:
            report.add_runs(f"{name}/{part}", metric, values, [one["seconds"] for one in answers], settings)
    labels = np.array(answers[0]["labels"], dtype=bool)
    if labels.sum() < FEW:
        said = np.array([one["same"] for one in answers], dtype=bool)

        def f1(rows: np.ndarray) -> float:
            return float(np.mean([_f1(one[rows], labels[rows]) for one in said]))

        low, high = drawn_interval(len(labels), f1)
        found = {"low": round(100 * low, 2), "high": round(100 * high, 2), "same": int(labels.sum())}
        report.add(f"{name}/{part}", "f1 interval", 100 * f1(np.arange(len(labels))), settings=found, n=len(answers))


def language_model(data_root: Path | None, runs: Path | None, name: str, part: str, seed: int) -> dict[str, Any]:
    """What the language model of one run says of validation and test pairs, which is what takes time."""
    settings = settings_of(name, part)
    return remembered(runs, [name, settings, seed], lambda: _fine_tuned(data_root, name, settings, seed))


def _fine_tuned(data_root: Path | None, name: str, settings: list[str], seed: int) -> dict[str, Any]:
    data = read(name, data_root)
    with tempfile.TemporaryDirectory() as folder:
        if name == "generated":
            settings = [*settings, f"model.encoder.model={tiny_encoder(Path(folder) / 'tiny')}"]
        config = load_config(settings=[*settings, "model.overlap=false"], kind=MatchTrainConfig, seed=seed)
        result = run(config, RunOptions(Path(folder) / "run", track=False, progress=False), data)
        matcher = Matcher.of(Resolved(result.bundle, name))
        began = time.perf_counter()
        said = {"test": rounded(log_odds(matcher.model, matcher.reader, data.test))}
        seconds = time.perf_counter() - began
        said["validation"] = rounded(log_odds(matcher.model, matcher.reader, data.validation))
    return {
        "log_odds": said,
        "split_hash": data.split_sha256,
        "best_epoch": result.figures["best_epoch"],
        "seconds": result.figures["seconds_to_fit"],
        "seconds_to_judge": seconds,
        "f1": result.figures["f1"],
        "validation_f1": result.figures["validation_f1"],
    }


def settings_of(name: str, part: str) -> list[str]:
    """What the runs of a part are told."""
    case = CASES.get(name)
    own = [*QUICK] if case is None else [f"optimiser.max_epochs={case.epochs}", *case.settings]
    return [*own, *PARTS[part]]


def measure(data_root: Path | None, runs: Path | None, name: str, part: str, seed: int) -> dict[str, Any]:
    """The figures of one run."""
    case = CASES.get(name)
    settings = [*QUICK] if case is None else [f"optimiser.max_epochs={case.epochs}", *case.settings]
    settings += PARTS[part]
    return remembered(runs, [name, settings, seed], lambda: _measured(data_root, name, settings, seed))


def _measured(data_root: Path | None, name: str, settings: list[str], seed: int) -> dict[str, Any]:
    data = read(name, data_root)
    with tempfile.TemporaryDirectory() as folder:
        if name == "generated":
            settings = [*settings, f"model.encoder.model={tiny_encoder(Path(folder) / 'tiny')}"]
        config = load_config(settings=settings, kind=MatchTrainConfig, seed=seed)
        result = run(config, RunOptions(Path(folder) / "run", track=False, progress=False), data)
        matcher = Matcher.of(Resolved(result.bundle, name))
        began = time.perf_counter()
        scores = matcher.score(data.test)
        seconds = time.perf_counter() - began
        alone, said = each_alone(matcher, data)
    numbers = {key: one for key, one in result.figures.items() if isinstance(one, int | float)}
    return {
        **numbers,
        **alone,
        "split_hash": data.split_sha256,
        "pairs_per_second": len(data.test) / seconds,
        "seconds": result.figures["seconds_to_fit"],
        "labels": data.test.labels.astype(int).tolist(),
        "same": scores.same.astype(int).tolist(),
        "log_odds": {"calibrated": rounded(scores.log_odds), **said},
        "set": [one for one in settings if not one.startswith("model.encoder.model=")],
    }


def each_alone(matcher: Matcher, data: LabelledPairs) -> tuple[dict[str, float], dict[str, list[float]]]:
    """F1 of the language model and of the trees by themselves, each at its own threshold from validation.

    Returns:
        The figures, and what each says of the test pairs, with what both say before it is calibrated.
    """
    judge = matcher.model.overlap
    said = {"together": rounded(log_odds(matcher.model, matcher.reader, data.test))}
    if judge is None:
        return {}, said
    matcher.model.overlap = None
    try:
        ways = {
            "language_model": lambda pairs: log_odds(matcher.model, matcher.reader, pairs),
            "overlap": lambda pairs: judge.log_odds(matcher.reader.pairs(pairs).take(slice(None))),
        }
        found = {}
        for name, way in ways.items():
            chosen = best_f1(way(data.validation).astype(np.float64), data.validation.labels)
            worth = way(data.test).astype(np.float64)
            found[f"validation_f1_{name}"] = chosen.f1
            found[f"f1_{name}"] = decide(worth, data.test.labels, chosen.threshold).f1
            said[name] = rounded(worth)
    finally:
        matcher.model.overlap = judge
    return found, said


def rounded(log_odds: np.ndarray) -> list[float]:
    """As they are kept."""
    return [round(float(one), 5) for one in log_odds]


def _f1(said: np.ndarray, labels: np.ndarray) -> float:
    right = int((said & labels).sum())
    return 2 * right / max(int(said.sum() + labels.sum()), 1)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"matching.py: {error}") from None
