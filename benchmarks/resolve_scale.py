"""Two tables of up to 200,000 records each, resolved on this machine: minutes, memory, and what a cascade costs.

Tables are generated (see `linking_data.generated`): a tenth of the products is in both, with typing errors, words in
another order, and gaps; three in ten are variants of another one. A matcher (MiniLM) is trained on labelled pairs of
other tables, and distilled into one of half its layers that reads records apart. Then, each in a process of its own:

- *cascade-N*: N records a table; the matcher judges a fifth of N pairs, and similarities, weighed as these verdicts
  teach, all the others. *both-25000*: with the distilled matcher's word among the similarities.
- *no-labels-N*: the data by themselves; *described-N* too, with 35 words more in each title.
- *matcher-25000*, *distilled-25000*: all candidates by one of both. "pairs a second" is of judging, records read
  included; "pairs a second once read" of pairs alone whose records' vectors are there.
- *exponent*: of seconds as a power of N, from the smallest to the largest.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from linking_data import generated, labelled
from matching_cases import tiny_encoder
from report import Report, arguments

from features.record_pairs import RecordPairs
from recsys.blocking.blocker import BlockingConfig, block
from recsys.entities.agreement import against_labels
from recsys.matching.siamese import SiameseMatcher
from serving.entities.cascade import CascadeJudge
from serving.entities.judges import MatcherJudge
from serving.matching.matcher import Matcher
from serving.resolve import Resolved
from training.config import load_config
from training.entities.config import ResolveConfig
from training.entities.resolve import resolve
from training.matching.config import MatchTrainConfig
from training.matching.distil import STUDENT, taught
from training.matching.run import run
from training.runs import RunOptions

SIZES = (25_000, 50_000, 100_000, 200_000)
COMPARED = 25_000

#: candidates a record, and the share of a table's records that the matcher may judge as many pairs
CANDIDATES, SHARE = 5, 0.2

#: records of the tables that are learned from, pairs of them with labels, and pairs that the matcher teaches
LEARNED, LABELS, TAUGHT = 8_000, 4_000, 12_000
TEACHER = ("model.max_tokens=96", "optimiser.max_epochs=3")


def main() -> None:
    """Trains, resolves, prints and writes."""
    parser = arguments(__doc__)
    parser.add_argument("--models", type=Path, help="a folder that keeps both matchers, so that none is trained twice")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="records of a table")
    options = parser.parse_args()
    report = Report("resolve_scale", options.quick)
    sizes, compared = ((60, 120), 60) if options.quick else (options.sizes, COMPARED)
    of_others = [(who, compared) for who in ("both", "matcher", "distilled")]
    of_others += [(who, sizes[-1]) for who in ("no-labels", "described")]
    with tempfile.TemporaryDirectory() as folder:
        models = matchers(report, options.models or Path(folder), options.quick)
        for n in sizes:
            add(report, f"generated/cascade-{n}", apart(n, models, "cascade", options.quick))
            report.finish(options.out)
        for who, n in of_others:
            add(report, f"generated/{who}-{n}", apart(n, models, who, options.quick))
            report.finish(options.out)
    seconds = {row["case"]: row["mean"] for row in report.rows if row["metric"] == "seconds"}
    ends = [seconds[f"generated/cascade-{n}"] for n in (sizes[0], sizes[-1])]
    exponent = float(np.log(ends[1] / ends[0]) / np.log(sizes[-1] / sizes[0])) if len(sizes) > 1 else 1.0
    report.add("generated/cascade", "exponent", exponent)
    report.finish(options.out)


def matchers(report: Report, folder: Path, quick: bool) -> tuple[Path, Path]:
    """The bundles of the matcher and of the one that it was distilled into."""
    found = folder / "teacher" / "bundle", folder / "student" / "bundle"
    size, labels, told = (150, 60, 80) if quick else (LEARNED, LABELS, TAUGHT)
    small = [f"model.encoder.model={tiny_encoder(folder / 'tiny')}", "optimiser.max_epochs=1"] if quick else []
    blocking = BlockingConfig(candidates=CANDIDATES)
    if not found[0].is_dir():
        data = generated(size, seed=98, shared=0.2)
        pairs = labelled(data, block(data.left, data.right, blocking).pairs, labels)
        config = load_config(settings=[*TEACHER, *small], kind=MatchTrainConfig)
        run(config, RunOptions(found[0].parent, track=False, progress=False), pairs)
    if not found[1].is_dir():
        data = generated(size, seed=99, shared=0.2)
        pairs = block(data.left, data.right, blocking).pairs
        # a model of random weights, as of a quick form, finds nothing the same
        lesson = labelled(data, pairs, told) if quick else taught(Matcher.load(found[0]), pairs, told)
        small = [*small, "model.encoder.layers=1"] if quick else []
        config = load_config(settings=[*STUDENT, "model.max_tokens=64", *small], kind=MatchTrainConfig)
        run(config, RunOptions(found[1].parent, track=False, progress=False), lesson)
    for case, metric, bundle in (
        ("matcher", "f1 of labelled pairs", found[0]),
        ("distilled", "f1 of what it was taught", found[1]),
    ):
        figures = json.loads((bundle.parent / "result.json").read_text(encoding="utf-8"))["figures"]
        report.add(f"generated/{case}", metric, figures["f1"], seconds=figures["seconds"])
    return found


def apart(n: int, models: tuple[Path, Path], who: str, quick: bool) -> dict[str, Any]:
    """The figures of one size, made by a process that does nothing else."""
    if quick:
        return resolved(n, models, who)
    with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (2,)) as pool:
        return pool.apply(resolved, (n, models, who))


def resolved(n: int, models: tuple[Path, Path], who: str) -> dict[str, Any]:
    """Generates, resolves, and compares with the truth."""
    data = generated(n, described=35 if who == "described" else 0)
    second, first = (Matcher.of(Resolved(one, one.parent.name)) for one in models)
    judges: dict[str, Any] = {
        "cascade": CascadeJudge(None, second, pairs=round(SHARE * n)),
        "both": CascadeJudge(first, second, pairs=round(SHARE * n)),
        "matcher": MatcherJudge(second),
        "distilled": MatcherJudge(first),
    }
    began = time.perf_counter()
    config = ResolveConfig(blocking=BlockingConfig(candidates=CANDIDATES))
    found = resolve({"left": data.left, "right": data.right}, config, judges.get(who))
    seconds = time.perf_counter() - began
    same = RecordPairs(*_sides(data.matches), np.ones(len(data.matches), bool))
    said = against_labels(found.resolved.entities, same, "left", "right")
    hits, called = said["called"], said["called"] + said["unlabelled"]
    return {
        "f1": 2 * hits / max(called + len(same), 1),
        "precision": hits / max(called, 1),
        "recall": hits / max(len(same), 1),
        "seconds": seconds,
        "peak memory, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "pairs a second": found.figures["candidates"] / found.figures["seconds"]["judging"],
        **({"pairs a second once read": _once_read(first, data)} if who == "distilled" else {}),
        "settings": {
            "candidates": found.figures["candidates"],
            **{f"seconds_{stage}": one for stage, one in found.figures["seconds"].items()},
            **{f"{one['name']}_pairs": one["pairs"] for one in found.figures["stages"]},
            **{f"{one['name']}_seconds": round(one["seconds"], 1) for one in found.figures["stages"]},
        },
    }


def _once_read(first: Matcher, data: Any) -> float:
    """Pairs a second of a matcher that reads apart, of records whose vectors are there."""
    random, some = np.random.default_rng(0), 2_000
    rows = random.integers(0, min(some, len(data.left)), (2, 200_000))
    told = first.reader.pairs(RecordPairs(data.left, data.right, *rows))
    assert isinstance(first.model, SiameseMatcher)
    judged = first.model.judging(first.reader, told)
    began = time.perf_counter()
    for start in range(0, len(told.pairs), 8192):
        judged(slice(start, start + 8192))
    return len(told.pairs) / (time.perf_counter() - began)


def _sides(pairs: RecordPairs) -> Sequence[Any]:
    return pairs.left, pairs.right, pairs.left_rows, pairs.right_rows


def add(report: Report, case: str, found: dict[str, Any]) -> None:
    """The rows of one process."""
    for metric, value in found.items():
        if metric != "settings":
            report.add(case, metric, value, settings=found["settings"])


if __name__ == "__main__":
    main()
