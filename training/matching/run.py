"""One run that trains a matcher, whole: data, fit, bundle, official figures of the loaded bundle, MLflow."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.sources import load_pairs
from recsys.matching.ditto import opinions, together
from recsys.text_encoders.folders import folder_of, recipe_of
from serving.matching.manifest import with_metrics
from serving.matching.matcher import Matcher
from serving.matching.writer import write_matcher
from serving.resolve import Resolved
from training import plots
from training.interruption import resumable
from training.matching.config import MatchTrainConfig
from training.matching.epoch_lines import EpochLines
from training.matching.figures import figures_on_test
from training.matching.fit import check_labels, fit_matcher
from training.promotion import challenge, check_name
from training.run_folder import finish, open_folder, save_state, tracked_run
from training.runs import RunOptions
from training.tracking import TrackedRun, git_sha, library_versions


@dataclass(frozen=True)
class MatchResult:
    """What a run came to.

    Args:
        figures: Data, seed, figures of the test pairs and seconds: what `--json` prints.
        bundle: The bundle's folder.
        version: The registered version, if any.
        run_id: MLflow's, if tracked.
    """

    figures: dict[str, Any]
    bundle: Path
    version: str | None
    run_id: str | None

    def __repr__(self) -> str:
        version = "" if self.version is None else f", registered as version {self.version}"
        return f"MatchResult(test F1 {self.figures['f1']:.4f}, bundle {self.bundle}{version})"


def run(config: MatchTrainConfig, options: RunOptions, data: LabelledPairs | None = None) -> MatchResult:
    """Trains a matcher, writes its bundle, and measures that on the test pairs, which are read once.

    Args:
        config: All that figures depend on.
        options: The rest; a matcher is not refitted.
        data: The configured data, where it is loaded already.

    Raises:
        InputError: Data or settings that cannot be used, or a run that cannot be resumed.
    """
    began = time.perf_counter()
    if data is None:
        own = "the tables" if config.data.name == "record-tables" else config.data.name
        options.say(f"reading {config.data.root or own}")
        data = load_pairs(config.data.name, config.data.root or None, **config.data.settings)
    check_labels(data)
    check_name(options.register)
    recipe_of(folder_of(config.model.encoder.model, config.model.encoder.revision))  # before anything is written
    for table in dict.fromkeys((data.train.left, data.train.right)):
        if table.shortened:
            options.say(f"note: {table.shortened:,} values of {table.name} are very long, and lose their ends")
    common = shared(data)
    facts = describe(data, common)
    for (one, other), n in common.items():
        if n:
            options.say(f"note: {n:,} pairs of {one} are word for word among those of {other}")
    state = open_folder(options.folder, config, facts, options.resume, say=options.say)
    tracked = _tracked(config, options, state, facts)
    with resumable(options.folder), tracked or contextlib.nullcontext():
        epochs = {one["epoch"]: one for one in state["epochs"]}
        # where standard error is a terminal, a bar shows the same
        silent = options.progress and sys.stderr.isatty()
        lines = None if silent else EpochLines(options.say, config.contrast.epochs, config.optimiser.max_epochs)

        def report(figures: dict[str, float], epoch: int) -> None:
            if lines is not None:
                lines(figures, epoch)
            epochs[epoch] = {**epochs.get(epoch, {}), "epoch": epoch, **figures}
            save_state(options.folder, {**state, "epochs": [epochs[one] for one in sorted(epochs)]})
            if tracked is not None:
                tracked.metrics(figures, step=epoch)

        trained = fit_matcher(
            config, data, options.folder, options.say, resume=options.resume, report=report, progress=options.progress
        )
        seconds_to_fit = time.perf_counter() - began
        options.say("writing the bundle and measuring it on the test pairs")
        folder = write_matcher(
            options.folder / "bundle",
            trained.fitted,
            name=options.register or data.name,
            data={key: one for key, one in facts.items() if key != "attributes"},
            libraries=library_versions(),
            git_sha=git_sha(),
        )
        matcher = Matcher.of(Resolved(folder, options.register or data.name))
        official, pictured = measure(matcher, data)
        with_metrics(folder, official)
        if not official["f1"]:
            options.say("note: it finds none of the test pairs that are the same; it has not learned to tell them")
        figures = {
            "model": "matcher",
            **facts,
            "seed": config.seed,
            **official,
            **{f"validation_{name}": one for name, one in trained.validation.items()},
            "best_epoch": trained.best_epoch,
            "threshold": trained.fitted.threshold,
            "seconds": time.perf_counter() - began,
            "seconds_to_fit": seconds_to_fit,
            "bundle": str(folder),
        }
        curves = plots.learning_curves([epochs[one] for one in sorted(epochs)], trained.best_epoch, "f1")
        pictures = [
            plots.saved(curves, options.folder / "learning_curves.png"),
            plots.saved(plots.reliability(pictured), options.folder / "reliability.png"),
        ]
        version = None
        if tracked is not None:
            tracked.metrics({f"test/{name}": one for name, one in official.items()})
            tracked.metrics({key: figures[key] for key in ("seconds", "seconds_to_fit", "best_epoch", "threshold")})
            for picture in pictures:
                tracked.file(picture, "plots")
            version = tracked.bundle(folder, options.register)
            if version is not None and options.register is not None:
                challenge(options.register, version, options.tracking_uri)
                figures["version"] = version
    finish(options.folder, {"figures": figures})
    return MatchResult(figures, folder, version, tracked.id if tracked else None)


def describe(data: LabelledPairs, common: Mapping[tuple[str, str], int] | None = None) -> dict[str, Any]:
    """What a person wants to know of labelled pairs before training on them.

    Args:
        data: Pairs with labels.
        common: What `shared` says of them, where that is known.
    """
    return {
        "dataset": data.name,
        "dataset_hash": data.sha256,
        **({"labels": f"as {data.judged_by} judges, which is not what is true"} if data.judged_by else {}),
        "records": len(data.train.left) + (0 if data.train.left is data.train.right else len(data.train.right)),
        "attributes": ", ".join(data.train.left.attributes),
        **{f"{part}_pairs": len(pairs) for part, pairs in data.parts.items()},
        **{f"{part}_same": int(pairs.labels.sum()) for part, pairs in data.parts.items() if pairs.labels is not None},
        "test_pairs_in_train": (common or shared(data))["test", "train"],
        "split_hash": data.split_sha256,
    }


def shared(data: LabelledPairs) -> dict[tuple[str, str], int]:
    """How many pairs of one part say what those of another one say; of one table, whichever way round."""
    told = {part: _words(pairs) for part, pairs in data.parts.items()}
    parts = (("test", "train"), ("validation", "train"), ("test", "validation"))
    return {(one, other): told[one].join(told[other], on=pl.all(), how="semi").height for one, other in parts}


def _words(pairs: RecordPairs) -> pl.DataFrame:
    """What both records of each pair say, as a hash of each. (m rows)"""
    one, other = pairs.left.values.hash_rows()[pairs.left_rows], pairs.right.values.hash_rows()[pairs.right_rows]
    frame = pl.DataFrame({"one": one, "other": other})
    if pairs.left is pairs.right:
        frame = frame.select(one=pl.min_horizontal("one", "other"), other=pl.max_horizontal("one", "other"))
    return frame


def measure(matcher: Matcher, data: LabelledPairs) -> tuple[dict[str, float], dict[str, Any]]:
    """Figures of the test pairs, at the threshold that the matcher brings: see `training.matching.figures`.

    Args:
        matcher: A loaded one.
        data: Pairs with labels.

    Returns:
        The figures, and the points of the reliability curves before and after calibration.
    """
    each = opinions(matcher.model, matcher.reader, data.test)
    worth = matcher.calibration(together(matcher.model.overlap, *each).astype(np.float64))
    return figures_on_test(data, each, worth, matcher.validation, matcher.threshold())


def _tracked(
    config: MatchTrainConfig, options: RunOptions, state: dict[str, Any], facts: dict[str, Any]
) -> TrackedRun | None:
    if not options.track:
        return None
    name = f"{facts['dataset']}-s{config.seed}"
    experiment = options.experiment or "matcher"
    tracked = tracked_run(options.folder, state, config, facts, experiment, name, options.tracking_uri)
    tracked.tags({f"version.{name}": one for name, one in library_versions().items()})
    return tracked
