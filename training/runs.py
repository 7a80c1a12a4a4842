"""One training run, whole: data, fit, bundle, official figures, baselines, MLflow, and a refit for release."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.prepared import Prepared
from recsys.fusion import text_of
from recsys.retrievers import Retriever, reads_asking_time
from training import processes
from training.data import describe, note_on_parts, pinned, prepare
from training.evaluation import METRICS, evaluate_baselines
from training.families import described, family_of
from training.fit import Fitted
from training.interruption import resumable
from training.promotion import challenge, check_name
from training.release import ASKING_TIME, load_model, release, release_refitted
from training.retention import compare
from training.run_fits import RunFits
from training.run_folder import finish, open_folder, save_state, tracked_run
from training.run_pictures import run_pictures
from training.texts import note_on_tuning, with_texts
from training.tracking import TrackedRun, library_versions

if TYPE_CHECKING:
    from training.families import RunConfig
    from training.warm_start import WarmStart


@dataclass(frozen=True)
class RunOptions:
    """What a run does besides what its configuration says; none of it changes a figure.

    Args:
        folder: Where the run's files go.
        resume: Go on with the run in `folder`.
        refit: After evaluation, fit the released model on all the data.
        register: Registered model that the bundle becomes a version of.
        experiment: MLflow's experiment; the name of the model's family where not given.
        tracking_uri: MLflow's store.
        track: Log to MLflow at all.
        progress: Show progress bars where standard error is a terminal.
        say: Called with a line whenever a stage begins.
    """

    folder: Path
    resume: bool = False
    refit: bool = False
    register: str | None = None
    experiment: str | None = None
    tracking_uri: str | None = None
    track: bool = True
    progress: bool = True
    say: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Args:
        figures: Dataset, split hash, seed, test metrics and seconds: what `--json` prints.
        comparison: Test metrics of the model and of each baseline, by name.
        bundle: The bundle's folder.
        version: The registered version, if any.
        run_id: MLflow's, if tracked.
    """

    figures: dict[str, Any]
    comparison: dict[str, dict[str, float]]
    bundle: Path
    version: str | None
    run_id: str | None

    def __repr__(self) -> str:
        found = " ".join(f"{name.upper()} {self.figures[name]:.4f}" for name in ("hr@10", "ndcg@10"))
        version = "" if self.version is None else f", registered as version {self.version}"
        return (
            f"RunResult({self.figures['model']} on {self.figures['dataset']}: {found}, bundle {self.bundle}{version})"
        )


def run(
    config: RunConfig, options: RunOptions, prepared: Prepared | None = None, start: WarmStart | None = None
) -> RunResult | None:
    """Trains, evaluates and logs a retriever.

    Of several processes that torchrun started all train, and the first does the rest.

    Args:
        config: All that figures depend on.
        options: The rest.
        prepared: The configured data, where it is loaded already; its texts are encoded, where they are not yet.
        start: A bundle whose model is gone on with, instead of random weights; the configuration's model is its own.

    Returns:
        What the run came to; None on the other processes.

    Raises:
        InputError: Data or settings that cannot be used, or a run that cannot be resumed.
    """
    began = time.perf_counter()
    config = pinned(config if start is None else start.configured(config))
    if prepared is None:
        options.say(f"reading {config.data.name}")
        prepared = prepare(config, say=options.say)
    elif config.text.columns and prepared.dataset.schema.vector is None:
        told = with_texts(prepared.dataset, config.text, options.say)
        prepared = dataclasses.replace(prepared, dataset=told)
    if start is not None:
        prepared = start.continued(prepared)
    fits = RunFits(config, options, prepared, start)
    fits.check()
    if not processes.is_first():  # the others train along, and neither write nor talk
        fitted = fits.measured()
        if options.refit:
            fits.released(fitted)
        return None
    check_name(options.register)
    facts = describe(prepared.dataset, prepared.split)
    if config.text.columns and text_of(config.model.fusion, prepared.dataset.schema) is None:
        options.say("note: the model does not read the texts of items, because model.fusion.kind is 'none'")
    if prepared.dataset.orphans:
        options.say(
            f"note: {prepared.dataset.orphans:,} of {facts['interactions']:,} interactions have an item or a user that "
            "the tables of items and users lack"
        )
    for note in (note_on_parts(prepared), note_on_tuning(config.text, prepared)):
        if note is not None:
            options.say(f"note: {note}")
    for note in start.notes(prepared) if start is not None else ():
        options.say(note)
    state = open_folder(options.folder, config, facts, options.resume, start, options.say)
    tracked = _tracked(config, options, state, facts | ({} if start is None else start.tags))
    with resumable(options.folder), tracked or contextlib.nullcontext():
        fitted, epochs = _fitted(fits, state, tracked)
        assert fitted.model is not None  # this is the first process
        seconds_to_fit = time.perf_counter() - began
        refitted = fits.released(fitted) if options.refit else None
        options.say("writing the bundle and measuring it on the test part")
        bundle = options.folder / "bundle"
        official, answers = release(bundle, config, prepared, fitted.model)
        family = family_of(config).name
        comparison = {family: official, **evaluate_baselines(prepared)}
        if reads_asking_time(config.model):
            options.say(f"note: {ASKING_TIME}")
        better = [name for name, row in comparison.items() if row["ndcg@10"] > official["ndcg@10"]]
        if better:
            verb = "ranks" if len(better) == 1 else "rank"
            options.say(f"note: {' and '.join(better)} {verb} the test items better than this model (NDCG@10)")
        pictures = run_pictures(options.folder, answers, comparison, epochs, fitted.best_epoch)
        retained = {} if start is None else compare(prepared, start.bundle, load_model(bundle))
        if refitted is not None:
            bundle = release_refitted(bundle, config, fits.everything, refitted, prepared, official)
        figures = {
            "model": family,
            "dataset": prepared.dataset.name,
            "dataset_hash": prepared.dataset.sha256,
            "split": prepared.split.name,
            "split_hash": prepared.split.sha256,
            "knows_asking_time": reads_asking_time(config.model),
            "seed": config.seed,
            **{name: official[name] for name in METRICS},
            "validation_ndcg@10": fitted.validation,
            "best_epoch": fitted.best_epoch,
            "parameters": sum(weight.numel() for weight in fitted.model.parameters()),
            "seconds": time.perf_counter() - began,
            "seconds_to_fit": seconds_to_fit,
            **retained,
        }
        if prepared.dataset.entities is not None:
            figures["entities"] = dataclasses.asdict(prepared.dataset.entities)
        if start is not None:
            figures["from"] = start.origin
            start.stamp(bundle, retained)
            if tracked is not None:
                tracked.metrics({f"test/{name}": value for name, value in retained.items()})
        version = _logged(options, tracked, figures, comparison, pictures, bundle)
        figures["bundle"] = str(bundle)
        if version is not None:
            figures["version"] = version
    finish(options.folder, {"figures": figures, "comparison": comparison})
    return RunResult(figures, comparison, bundle, version, tracked.id if tracked else None)


def _tracked(config: RunConfig, options: RunOptions, state: dict[str, Any], facts: dict[str, Any]) -> TrackedRun | None:
    if not options.track:
        return None
    name = f"{config.data.name}-{described(config.model)}-s{config.seed}"
    experiment = options.experiment or family_of(config).name
    tracked = tracked_run(options.folder, state, config, facts, experiment, name, options.tracking_uri)
    tracked.tags({f"version.{name}": one for name, one in library_versions().items()})
    return tracked


def _fitted(
    fits: RunFits, state: dict[str, Any], tracked: TrackedRun | None
) -> tuple[Fitted[Retriever], list[dict[str, float]]]:
    """Fits, keeping each epoch's metrics: in the folder's state and in MLflow."""
    epochs = {one["epoch"]: one for one in state["epochs"]}

    def report(figures: dict[str, float], epoch: int) -> None:
        epochs[epoch] = {"epoch": epoch, **figures}
        kept = [epochs[one] for one in sorted(epochs) if one <= epoch]
        save_state(fits.options.folder, {**state, "epochs": kept})
        if tracked is not None:
            tracked.metrics(figures, step=epoch)

    fitted = fits.measured(report)
    return fitted, [epochs[number] for number in sorted(epochs)]


def _logged(
    options: RunOptions,
    tracked: TrackedRun | None,
    figures: dict[str, Any],
    comparison: dict[str, dict[str, float]],
    pictures: list[Path],
    bundle: Path,
) -> str | None:
    if tracked is None:
        return None
    for name, row in comparison.items():
        prefix = "test" if name == figures["model"] else f"baseline/{name}"
        tracked.metrics({f"{prefix}/{metric}": value for metric, value in row.items()})
    tracked.metrics({key: figures[key] for key in ("seconds", "seconds_to_fit", "best_epoch")})
    for picture in pictures:
        tracked.file(picture, "plots")
    tracked.file(options.folder / "config.yaml")
    version = tracked.bundle(bundle, options.register)
    if version is not None and options.register is not None:
        challenge(options.register, version, options.tracking_uri)
    return version
