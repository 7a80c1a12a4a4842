"""kNN-Embed: a single query, a mixture of interests and a smoothed mixture, of the same vectors, beside ComiRec.

Each user's interactions are split by themselves, 80% for training, 10% for validation and 10% for test (of Gowalla, as
LightGCN published it, with a tenth of each user's training items for validation). What a user has had in training is
removed from rankings; recall is averaged over users. Every way has as many trials on validation, by recall@50: the
vectors for the single query, which the mixtures then take over; clusters and components for the mixture; the share and
number of similar users, and components again, for the smoothed one, which begins at the best mixture; and ComiRec and
item-kNN settings of their own. "distance" is the mean of 1 - cosine over pairs of a list's 50 items, "distinct" how
many of 100 clusters they are in, both of the same vectors for all; "coverage@50" is of the catalogue.

- *cit-hepth*: papers that cite ten others and more are users, and the papers they cite items (kNN-Embed, arXiv
  2205.06205, table 1; how it splits is not known here). Vectors are those of a graph, as the paper's: one of each user
  and each item, by inner product, of any length or of length 1. "-histories" are this project's two-tower
  vectors, which read what a user has cited.
- *ml-1m*, *gowalla*: two-tower vectors of histories; of Gowalla four trials of each way.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from interests_cases import CASES, COMIREC, ITEM_KNN, MIXTURE, MIXTURE_4, SMOOTHED, SMOOTHED_4, VECTORS
from interests_plot import VALIDATION, draw
from interests_runs import K, comirec, item_knn, measured, vectors_of
from intervals import paired_interval
from kept_runs import run_all
from report import RESULTS, Report, arguments

from features.errors import InputError
from recsys.interests import KINDS, InterestsConfig, mixtures_of
from training.interests import CHOSEN_BY, InterestsMeasure, InterestsSpace, Trial, search

SEEDS = 3
METRICS = ("recall@10", "recall@20", "recall@50", "distance", "distinct", "coverage@50")

#: the mixture before anything of it is chosen: with a few interests fine clusters would be tried in vain
START = InterestsConfig(components=15)

QUICK = InterestsSpace(clusters=(2, 5), mixing=(0.5,), neighbours=(3,), components=(2,))


def main() -> None:
    """Trains, chooses, measures, prints, writes and draws."""
    parser = arguments(__doc__)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--runs", type=Path, help="a folder that keeps each run's figures, so that none is made twice")
    parser.add_argument("--only", default="", help="the cases whose name contains this; rows of others stay")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of what is chosen")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit(
            "interests.py: --data-root FOLDER is needed (a folder that holds cit-hepth, ml-1m and gowalla)"
        )
    full = [one for one in CASES if one != "generated"]
    cases = ["generated"] if options.quick else [one for one in full if options.only in one]
    if not cases:
        raise InputError(f"--only {options.only} is in no case; the cases are {', '.join(full)}")
    report = Report("interests", options.quick, keep=bool(options.only), whole=not options.runs)
    with tempfile.TemporaryDirectory() as folder:
        runs = options.runs or Path(folder)
        for case in cases:
            compare(report, case, str(options.data_root), runs, options)
            rows = report.finish(options.out)["rows"]
    if not options.quick:
        draw(rows, (CHOSEN_BY, "distance"), (options.out or RESULTS / "interests.json").with_suffix(".png"))


def compare(report: Report, case: str, data_root: str, runs: Path, options: Any) -> None:
    """All ways on one data set."""
    quick, processes = options.quick, 1 if options.quick else options.processes
    where = (data_root, runs, case)
    most = CASES[case].trials
    vectors = ("",) if quick else VECTORS[CASES[case].users][:most]
    tried = dict(run_all(vectors_of, [(*where, trial, 0) for trial in vectors], processes))
    best = max(vectors, key=lambda trial: tried[*where, trial, 0]["validation"])
    mine = measured(*where, best, 0, "validation")
    mixture = list(search(mine, "mixture", QUICK if quick else MIXTURE_4 if most else MIXTURE, START, say=_say))
    chosen = {"mixture": _best(mixture).config}
    smoothed = list(
        search(mine, "smoothed", QUICK if quick else SMOOTHED_4 if most else SMOOTHED, chosen["mixture"], say=_say)
    )
    chosen |= {"smoothed": _best(smoothed).config, "unimodal": InterestsConfig()}
    for name, found in (("mixture", mixture), ("smoothed", smoothed)):
        for n, trial in enumerate(found):
            facts = {**_flat(trial.config), "varied": trial.setting}
            for metric in (CHOSEN_BY, "distance"):
                report.add(f"{case}/{name}-trial-{n}", VALIDATION + metric, trial.figures[metric], settings=facts)
    for trial in vectors:
        value = tried[*where, trial, 0]["validation"]
        report.add(f"{case}/unimodal {trial or 'as it begins'}", VALIDATION + CHOSEN_BY, value)
    seeds = 1 if quick else options.seeds
    dict(run_all(vectors_of, [(*where, best, seed) for seed in range(seeds)], processes))
    rows: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    gains: dict[str, list[np.ndarray]] = {}
    for seed in range(seeds):
        test = measured(*where, best, seed, "test")
        found = {kind: test.lists(kind, chosen[kind]) for kind in KINDS}
        recalls = {kind: test.recall_of_users(lists, K) for kind, lists in found.items()}
        for kind in KINDS:
            rows[kind].append(test.figures(found[kind]))
        for kind in ("unimodal", "mixture"):
            gains.setdefault(kind, []).append(recalls["smoothed"] - recalls[kind])
        if seed == 0:
            slices(report, case, test, recalls["smoothed"] - recalls["unimodal"], chosen["mixture"])
    for kind in KINDS:
        _add(
            report,
            f"{case}/{'knn-embed' if kind == 'smoothed' else kind}",
            rows[kind],
            {"vectors": best, **_flat(chosen[kind])},
        )
    for kind, differences in gains.items():
        mean = np.mean(differences, axis=0)
        low, high = paired_interval(mean)
        facts = {"low": round(low, 5), "high": round(high, 5), "users": len(mean)}
        report.add(f"{case}/knn-embed-above-{kind}", f"recall@{K}", float(mean.mean()), n=seeds, settings=facts)
    report.finish(options.out)  # the others take longest
    others(report, where, best, seeds, processes, quick)


def others(report: Report, where: tuple, vectors: str, seeds: int, processes: int, quick: bool) -> None:
    """ComiRec and item-kNN, with lists of their own."""
    case = where[2]
    trials = ("",) if quick else COMIREC[: CASES[case].trials]
    jobs = [(*where, trial, 0, vectors) for trial in trials]
    tried = {job[3]: answer for job, answer in run_all(comirec, jobs, processes)}
    best = max(trials, key=lambda trial: tried[trial]["validation"])
    answers = [one for _, one in run_all(comirec, [(*where, best, seed, vectors) for seed in range(seeds)], processes)]
    _add(report, f"{case}/comirec", [one["test"] for one in answers], {"set": best, "merged": answers[0]["merged"]})
    settings = ITEM_KNN[:1] if quick else ITEM_KNN
    found = {one: item_knn(*where, *one, "validation", vectors) for one in settings}
    chosen = max(found, key=lambda one: found[one][CHOSEN_BY])
    facts = {"neighbours": chosen[0], "shrinkage": chosen[1]}
    _add(report, f"{case}/item-knn", [item_knn(*where, *chosen, "test", vectors)], facts)


def slices(report: Report, case: str, test: InterestsMeasure, gain: np.ndarray, config: InterestsConfig) -> None:
    """On whom smoothing helps: by how many items, and by how many interests a user has."""
    own = test.histories.rows(test.evaluation.users)
    knn_embed = test.knn_embed(config)
    vectors = test.items[:, : test.width]
    plain = mixtures_of(own, knn_embed.clusters, vectors.__getitem__, len(knn_embed.clusters))
    shares = np.bincount(plain.users, weights=plain.weights**2, minlength=len(own))
    interests = 1 / np.where(shares > 0, shares, 1)  # as many as equal ones would be
    for name, values in (("items", own.lengths), ("interests", interests)):
        bounds = np.quantile(values, [1 / 3, 2 / 3])
        group = np.searchsorted(bounds, values, side="left")
        for n, which in enumerate(("few", "some", "many")):
            some = gain[group == n]
            if not len(some):
                continue
            low, high = paired_interval(some)
            facts = {
                "users": len(some),
                "low": round(low, 5),
                "high": round(high, 5),
                "up to": float(bounds[min(n, 1)]),
            }
            report.add(f"{case}/{which}-{name}", f"recall@{K} lift", float(some.mean()), settings=facts)


def _best(trials: list[Trial]) -> Trial:
    return max(trials, key=lambda one: one.figures[CHOSEN_BY])


def _flat(config: InterestsConfig) -> dict[str, Any]:
    return {
        "clusters": config.clusters.clusters,
        "mixing": config.mixing,
        "neighbours": config.neighbours,
        "components": config.components,
    }


def _add(report: Report, case: str, runs: list[dict[str, float]], settings: dict[str, Any]) -> None:
    for metric in METRICS:
        report.add_runs(case, metric, [one[metric] for one in runs], settings=settings)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"interests.py: {error}") from None
