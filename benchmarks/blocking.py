"""Blocking against a stock character TF-IDF, matching without a label, and from raw tables to entities.

- *recall*: of the known matches of two raw tables, all parts, by how many candidates there are for each record of the
  smaller table. "tfidf" is scikit-learn's (n-grams of 2 to 4 characters inside words), the nearest records of each
  record of the smaller table. "words", "vectors" (MiniLM as it comes) and "union" (of all three) look otherwise.
- *no-labels*: all known matches against all pairs that are called the same; who has no label is not shown any.
  "no-labels-one-to-one" says besides that no table has duplicates. Splink's figures are from `peers/splink`.
- *end to end*: records in three parts by connected component of the known matches, so that no test record is in a
  training pair; a matcher is trained on the labelled pairs of the first, and the raw tables of the last are resolved.
  Pairs that it calls the same and that nobody has labelled are reported apart, and do not count as wrong.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from linking_data import TABLES, Linked, by_component, generated, read
from matching_cases import tiny_encoder
from report import RESULTS, Report, arguments

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.blocking.blocker import BlockingConfig, block
from recsys.blocking.candidates import Candidates
from recsys.blocking.nearest import Neighbours
from recsys.blocking.report import report as blocking_report
from recsys.blocking.terms import texts_of
from recsys.entities.agreement import against_labels
from serving.entities.judges import MatcherJudge
from serving.entities.vectors import RecordEncoder
from serving.matching.matcher import Matcher
from serving.resolve import Resolved
from training.config import load_config
from training.entities.config import ResolveConfig
from training.entities.resolve import resolve
from training.matching.config import MatchTrainConfig
from training.matching.run import run
from training.runs import RunOptions

matplotlib.use("Agg")
from matplotlib import pyplot as plt

#: by what each way looks
WAYS = {
    "ours": ("characters",),
    "words": ("words",),
    "vectors": ("vectors",),
    "union": ("characters", "words", "vectors"),
}

#: candidates for each record of the smaller table
WANTED = (1, 2, 3, 5, 7, 10, 15, 20)
SPLINK = Path(__file__).parent / "peers" / "splink"


def main() -> None:
    """Measures, prints, writes and draws."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", help="the tables whose name contains this; rows of others stay")
    parser.add_argument("--no-matcher", action="store_true", help="without what trains a matcher")
    options = parser.parse_args()
    if not options.quick and options.data_root is None:
        raise SystemExit("blocking.py: --data-root FOLDER is needed (a folder that holds em-tables)")
    report = Report("blocking", options.quick, keep=bool(options.only))
    names = ["generated"] if options.quick else [one for one in ("fodors-zagats", *TABLES) if options.only in one]
    for name in names:
        data = generated(200, shared=0.5) if options.quick else read(name, options.data_root)
        if name != "fodors-zagats":
            curves = recalls(report, name, data, options.quick)
            if not options.quick:
                draw(curves, name, (options.out or RESULTS / "blocking.json").with_name(f"blocking-{name}.png"))
        without_labels(report, name, data, options.quick)
        if data.labelled is not None and not options.no_matcher:
            end_to_end(report, name, data)
        report.finish(options.out)


def recalls(report: Report, name: str, data: Linked, quick: bool) -> dict[str, list[float]]:
    """Recall by how many candidates there are, of each way."""
    curves: dict[str, list[float]] = {}
    encode = RecordEncoder()
    for way, ways in {**WAYS, "tfidf": ()}.items():
        if quick and "vectors" in ways:
            continue
        began = time.perf_counter()
        if way == "tfidf":
            found = _stock(data, max(WANTED))
        else:
            block(data.left, data.right, BlockingConfig(ways), encode)  # as it comes: ten candidates a record
        taken = time.perf_counter() - began
        curves[way] = []
        for wanted in WANTED:
            if way == "tfidf":
                some = _at_most(found, wanted)
            else:
                some = block(data.left, data.right, BlockingConfig(ways, wanted), encode)
            seconds = taken if wanted == 10 else None
            said = blocking_report(some, data.matches)
            curves[way].append(said.recall)
            facts = {"matches": said.matches, "per_record": round(said.per_record, 2)}
            report.add(f"{name}/{way}", f"recall@{wanted}", said.recall, seconds=seconds, settings=facts)
    return curves


def without_labels(report: Report, name: str, data: Linked, quick: bool) -> None:
    """What the data say by themselves, beside Splink where that is installed."""
    for case, config in (("no-labels", ResolveConfig()), ("no-labels-one-to-one", ResolveConfig(one_to_one=True))):
        began = time.perf_counter()
        found = resolve({"left": data.left, "right": data.right}, config)
        seconds = time.perf_counter() - began
        same = RecordPairs(*_sides(data.matches), np.ones(len(data.matches), bool))
        said = against_labels(found.resolved.entities, same, "left", "right")
        _add_f1(report, f"{name}/{case}", said["called"], said["called"] + said["unlabelled"], len(same), seconds)
    if not quick and (SPLINK / ".venv").is_dir():
        for case, settings in (("splink", {}), ("splink-one-to-one", {"one_to_one": True})):
            hits, called, seconds = _splink(data, settings)
            _add_f1(report, f"{name}/{case}", hits, called, len(data.matches), seconds)


def end_to_end(report: Report, name: str, data: Linked) -> None:
    """A matcher of records that are not tested, and the entities of those that are."""
    parts, test = by_component(data)
    settings = ["optimiser.max_epochs=5"]
    with tempfile.TemporaryDirectory() as folder:
        if name == "generated":
            settings += ["optimiser.max_epochs=1", f"model.encoder.model={tiny_encoder(Path(folder) / 'tiny')}"]
        config = load_config(settings=settings, kind=MatchTrainConfig)
        result = run(config, RunOptions(Path(folder) / "run", track=False, progress=False), parts)
        judge = MatcherJudge(Matcher.of(Resolved(result.bundle, name)))
        for case, one_to_one in (("end-to-end", False), ("end-to-end-one-to-one", True)):
            wanted = ResolveConfig(blocking=BlockingConfig(candidates=5), one_to_one=one_to_one)
            found = resolve({"left": test.left, "right": test.right}, wanted, judge)
            said = against_labels(found.resolved.entities, test.labelled.test, "left", "right")
            # a known match that blocking has lost is a labelled pair that is not called the same
            facts = {
                "test_pairs": len(test.labelled.test),
                "training_pairs": len(parts.train),
                "candidates": found.figures["candidates"],
                "unlabelled": said["unlabelled"],
                "seconds_to_fit": round(result.figures["seconds_to_fit"], 1),
                **{f"seconds_{stage}": one for stage, one in found.figures["seconds"].items()},
            }
            for metric in ("f1", "precision", "recall"):
                report.add(f"{name}/{case}", metric, said[metric], settings=facts)
        pairs = parts.test
        report.add(
            f"{name}/end-to-end", "f1 of labelled pairs alone", result.figures["f1"], settings={"pairs": len(pairs)}
        )


def _sides(pairs: RecordPairs) -> tuple[Any, ...]:
    return pairs.left, pairs.right, pairs.left_rows, pairs.right_rows


def _add_f1(report: Report, case: str, hits: int, called: int, right: int, seconds: float) -> None:
    facts = {"called": called, "matches": right}
    report.add(case, "f1", 2 * hits / max(called + right, 1), seconds=seconds, settings=facts)
    report.add(case, "precision", hits / max(called, 1))
    report.add(case, "recall", hits / max(right, 1))


def _stock(data: Linked, k: int) -> tuple[np.ndarray, bool, Linked]:
    """What scikit-learn's TF-IDF finds.

    Returns:
        The k nearest of each record of the smaller table, whether that is the left one, and the data.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [texts_of(one.values).to_list() for one in (data.left, data.right)]
    model = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)).fit([*texts[0], *texts[1]])
    left_is_smaller = len(texts[0]) <= len(texts[1])
    asking, asked = (model.transform(one) for one in (texts if left_is_smaller else reversed(texts)))
    rows = [np.argsort(-(asking[n] @ asked.T).toarray()[0], kind="stable")[:k] for n in range(asking.shape[0])]
    return np.stack(rows), left_is_smaller, data


def _at_most(found: tuple[np.ndarray, bool, Linked], wanted: int) -> Candidates:
    """The first so many of each record."""
    rows, left_is_smaller, data = found
    lists = Neighbours(rows[:, :wanted], np.ones((len(rows), wanted), np.float32))
    nobody = Neighbours(np.zeros((0, wanted), np.int64), np.zeros((0, wanted), np.float32))
    return Candidates.of(
        data.left, data.right, [("tfidf", lists, nobody) if left_is_smaller else ("tfidf", nobody, lists)]
    )


def _splink(data: Linked, settings: dict[str, Any]) -> tuple[int, int, float]:
    """What Splink calls the same: rightly, and in all; and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        for side, table in (("left", data.left), ("right", data.right)):
            table.values.with_columns(unique_id=pl.int_range(len(table))).write_parquet(f"{folder}/{side}.parquet")
        command = [str(SPLINK / ".venv" / "bin" / "python"), str(SPLINK / "run.py"), folder, json.dumps(settings)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"blocking.py: Splink failed: {done.stderr.strip().splitlines()[-1]}")
        seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
        called = pl.read_parquet(f"{folder}/called.parquet")
    pairs = RecordPairs(data.left, data.right, called["left"].to_numpy(), called["right"].to_numpy())
    return int(np.isin(pairs.codes(), data.matches.codes()).sum()), len(pairs), seconds


def draw(curves: dict[str, list[float]], name: str, path: Path) -> None:
    """Recall against candidates, a line a way."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for (way, values), colour in zip(
        curves.items(), ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#7F7F7F"), strict=True
    ):
        axes.plot(WANTED, values, marker=".", color=colour, label=way)
    axes.axhline(0.98, color="#BBBBBB", linewidth=0.8)
    axes.set(
        xlabel="candidates for each record of the smaller table",
        ylabel="share of known matches found",
        title=name,
        xticks=WANTED,
    )
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"blocking.py: {error}") from None
