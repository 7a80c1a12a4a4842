"""How the trees' settings of `recsys.matching.overlap_judge` were chosen: trials on the training pairs, in five folds.

Pairs of one left record are in one fold. A trial changes one or two settings; its figures are the best F1 (percent) and
the log loss over all folds together, the mean of three seeds. Validation and test are not read here.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from kept_runs import run_all
from matching_cases import CASES, read
from report import Report, arguments

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.calibration import probabilities
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.overlap import Overlap
from recsys.matching.overlap_judge import fit_trees, read_by_trees
from recsys.matching.pair_reader import PairReader
from recsys.matching.thresholds import best_f1
from recsys.text_encoders.loading import load_encoder

SETS = ("abt-buy", "amazon-google", "wdc-computers-small", "dirty-itunes-amazon", "beer")
FOLDS, SEEDS = 5, 3

TRIALS: dict[str, dict[str, float]] = {
    "as they are": {},
    "150 rounds": {"num_boost_round": 150},
    "600 rounds": {"num_boost_round": 600},
    "900 rounds of .02": {"num_boost_round": 900, "learning_rate": 0.02},
    "7 leaves": {"num_leaves": 7},
    "31 leaves": {"num_leaves": 31},
    "20 pairs a leaf": {"min_data_in_leaf": 20},
    "a quarter of the numbers": {"feature_fraction": 0.25},
    "all numbers": {"feature_fraction": 1.0},
    "random thresholds": {"extra_trees": True},
    "lambda 10": {"lambda_l2": 10.0},
}


def main() -> None:
    """Runs all trials, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="data sets at a time, of one thread each")
    options = parser.parse_args()
    report = Report("overlap_search", options.quick)
    names = ["generated"] if options.quick else list(SETS)
    trials = dict(list(TRIALS.items())[:2]) if options.quick else TRIALS
    assert all(name in CASES for name in SETS)
    jobs = [(options.data_root, name, trials) for name in names]
    for (_, name, _), found in run_all(tried, jobs, 1 if options.quick else options.processes):
        for trial, figures in found.items():
            for metric in ("f1", "log loss"):
                report.add_runs(f"{name}/{trial}", metric, figures[metric], figures["seconds"], trials[trial])
    report.finish(options.out)


def tried(data_root: Path | None, name: str, trials: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """The figures of all trials on one data set."""
    pairs = read(name, data_root).train
    assert pairs.labels is not None
    fold = pairs.left_rows % FOLDS
    folds = [(held, *vectors_of(pairs, held)) for held in (fold == one for one in range(FOLDS))]
    found: dict[str, dict[str, Any]] = {}
    for trial, settings in trials.items():
        figures: dict[str, Any] = {"f1": [], "log loss": [], "seconds": []}
        for seed in range(SEEDS):
            began, said = time.perf_counter(), np.zeros(len(pairs))
            for held, known, new in folds:
                trees = fit_trees(known, pairs.labels[~held], seed, **settings)
                said[held] = trees.sums(read_by_trees(new))
            right = np.where(pairs.labels, probabilities(said), probabilities(-said))
            figures["f1"].append(100 * best_f1(said, pairs.labels).f1)
            figures["log loss"].append(float(-np.log(np.maximum(right, 1e-12)).mean()))
            figures["seconds"].append(time.perf_counter() - began)
        found[trial] = figures
        print(
            f"{name}, {trial}: F1 {np.mean(figures['f1']):.2f}, log loss {np.mean(figures['log loss']):.4f}", flush=True
        )
    return found


def vectors_of(pairs: RecordPairs, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Comparison vectors of the pairs of the other folds, and of those of this one, which words' idf does not know.

    Args:
        pairs: (m,)
        held: This fold's. (m,) bool

    Returns:
        (m - k, F), (k, F)
    """
    config = DittoConfig()
    reader = PairReader(config, pairs.left.attributes, load_encoder(config.encoder))
    known, new = (reader.pairs(pairs.take(np.flatnonzero(one))) for one in (~held, held))
    overlap = Overlap.of(pairs.left.attributes, dict.fromkeys((known.left, known.right)))
    both = [[overlap.comparison_vectors(some) for some in told.lists()] for told in (known, new)]
    return np.concatenate(both[0]), np.concatenate(both[1])


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"overlap_search.py: {error}") from None
