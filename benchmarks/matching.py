"""How well pairs of records are told apart: Ditto over a small encoder, part by part, on the published splits.

em-pairs: official training, validation and test pairs. Every run chooses its epoch, its threshold and its calibration
on validation, and reads test once, at that threshold. "full" is a matcher as it comes: it joins its language model's
word with that of boosted trees over what records share and lack. "f1" and all else is of both together,
"f1_language_model" and "f1_overlap" are of either by itself, each at a threshold of its own from validation. On three
sets, "plain" is a fine-tune of the encoder without tricks and trees; the other parts of `matching_cases.py` are each
put on the full matcher alone, and "all" has Ditto's together. F1, precision and recall are in percent; sets with few
test pairs, or one seed, have an interval from drawing pairs (95%, of the mean over seeds). "unseen" are test pairs with
a record that training has not seen. Calibration: expected error before and after, and what became of asked precisions.
Ditto's published figures are of RoBERTa, five times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from intervals import drawn_interval
from kept_runs import run_all
from matching_cases import ABLATED, CASES, CONTROLS, FULL, PARTS, PLAIN
from matching_runs import measure
from report import RESULTS, Report, arguments

from features.errors import InputError
from recsys.matching.calibration import probabilities, reliability
from training.plots.calibration import reliability as reliability_picture
from training.plots.style import saved

#: what is reported in percent, and what as it is
PERCENT = ("f1", "f1_language_model", "f1_overlap", "precision", "recall", "f1_seen", "f1_unseen")
AS_IT_IS = (
    *("auc", "calibration_error", "calibration_error_before", "pairs_per_second", "best_epoch"),
    *("validation_f1", "validation_f1_language_model", "validation_f1_overlap"),
)

#: sets of fewer test pairs that are the same have an interval
FEW = 50


def main() -> None:
    """Trains, measures, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--only", default="", help="the data sets whose name contains this; rows of others stay")
    parser.add_argument("--parts", default=",".join(PARTS), help="of the compared ones (default: %(default)s)")
    options = parser.parse_args()
    report = Report("matching", options.quick, keep=bool(options.only), whole=not options.runs)
    if other := next((one for one in options.parts.split(",") if one not in PARTS), None):
        raise InputError(f"--parts has {other!r}, and the parts are {', '.join(PARTS)}")
    names = ["generated"] if options.quick else [name for name in CASES if options.only in name]
    for name in names:
        parts = [PLAIN, FULL] if options.quick else options.parts.split(",") if name in ABLATED else [FULL]
        for part in parts:
            answers = runs_of(options, name, part)
            add(report, name, part, answers)
            if part == FULL and not options.quick:
                draw(name, answers, (options.out or RESULTS / "matching.json").parent)
        if (case := CASES.get(name)) is not None and case.published is not None:
            report.add(f"{name}/ditto", "f1", case.published, source="Li et al., PVLDB 14(1), 2020")
        report.finish(options.out)


def draw(name: str, answers: Sequence[dict[str, Any]], folder: Path) -> None:
    """How often what was given a chance came true, before and after calibration; all runs together."""
    labels = np.concatenate([one["labels"] for one in answers]).astype(bool)
    curves = {
        kind: reliability(probabilities(np.concatenate([one["stated"][kind] for one in answers])), labels, bins=10)
        for kind in answers[0]["stated"]
    }
    saved(reliability_picture(curves), folder / f"matching-{name}.png")


def runs_of(options: Any, name: str, part: str) -> list[dict[str, Any]]:
    """The figures of each seed."""
    seeds = 1 if options.quick or part in CONTROLS else CASES[name].seeds
    if part != FULL:
        seeds = min(seeds, 3)
    jobs = [(options.data_root, options.runs, name, part, seed) for seed in range(seeds)]
    return [answer for _, answer in run_all(measure, jobs, 1 if options.quick else options.processes)]


def add(report: Report, name: str, part: str, answers: Sequence[dict[str, Any]]) -> None:
    """The rows of one part."""
    settings = {"set": answers[0]["set"], "split_hash": answers[0]["split_hash"]}
    named = sorted({name for one in answers for name in one})
    wanted = [one for one in named if one.startswith(("precision_at_", "recall_at_"))]  # n says how many reached it
    for metric in (*PERCENT, *AS_IT_IS, *wanted):
        values = [one[metric] * (100 if metric in PERCENT else 1) for one in answers if metric in one]
        if values:
            report.add_runs(f"{name}/{part}", metric, values, [one["seconds"] for one in answers], settings)
    labels = np.array(answers[0]["labels"], dtype=bool)
    if labels.sum() < FEW or len(answers) == 1:
        said = np.array([one["same"] for one in answers], dtype=bool)

        def f1(rows: np.ndarray) -> float:
            return float(np.mean([f1_of(one[rows], labels[rows]) for one in said]))

        low, high = drawn_interval(len(labels), f1)
        found = {"low": round(100 * low, 2), "high": round(100 * high, 2), "same": int(labels.sum())}
        report.add(f"{name}/{part}", "f1 interval", 100 * f1(np.arange(len(labels))), settings=found, n=len(answers))


def f1_of(said: np.ndarray, labels: np.ndarray) -> float:
    """F1 of what is called the same. (m,) bool, (m,) bool"""
    right = int((said & labels).sum())
    return 2 * right / max(int(said.sum() + labels.sum()), 1)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"matching.py: {error}") from None
