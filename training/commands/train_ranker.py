"""`recsys train ranker`: a DCN-V2 click model, measured by AUC, alone or inside a retriever's bundle."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.options import configuration, print_configuration, read_data, runs_of, say, say_reading

if TYPE_CHECKING:
    from features.prepared import Prepared
    from recsys.ranking import Ranker
    from training.ranking import RankingConfig
    from training.ranking_run import RankerResult

#: what a table shows of a run, and a summary of several averages
FIGURES = ("auc", "logloss", "validation_auc", "retrieved_ndcg@10", "reranked_ndcg@10", "reranked_hr@10")

#: facts of the data that go with every figure
_OF_THE_DATA = ("dataset", "dataset_hash", "split", "split_hash")


def run(arguments: argparse.Namespace) -> int:
    """Trains once a seed and prints the figures."""
    from training.ranking import RankingConfig

    if arguments.refit:
        raise InputError("--refit is for retrievers; a ranker is released as it was measured")
    if arguments.source:
        raise InputError("--from is for retrievers; a ranker is trained from the beginning")
    if arguments.register and not arguments.into:
        raise InputError("--register needs --into: what is registered is a retriever's bundle that carries the ranker")
    if arguments.into and arguments.seeds > 1:
        raise InputError(f"--into takes one ranker, so --seeds is 1, got {arguments.seeds}")
    first = configuration(arguments, RankingConfig, seed=arguments.seed)
    if arguments.print_config:
        return print_configuration(first)

    from features.prepared import Prepared
    from training import processes
    from training.data import split
    from training.ranking_run import prepare_labelled

    say_reading(first)
    # for a bundle the split must be the bundle's, whose data holds what is no example, too
    if arguments.into:
        first, dataset = read_data(arguments, first)
    prepared = Prepared.of(dataset, split(first.split, dataset)) if arguments.into else prepare_labelled(first)
    name = f"ranker-{{data}}-{first.split.name}-{first.model.embeddings.kind}"
    runs = runs_of(arguments, first, name)
    results = [_once(config, folder, resume, prepared, arguments) for config, folder, resume in runs]
    processes.leave()
    if processes.is_first():
        print(json.dumps(_summary(results)) if arguments.json else "\n".join(_told(one) for one in results))
    return 0


def _once(
    config: RankingConfig, folder: Path, resume: bool, prepared: Prepared, arguments: argparse.Namespace
) -> dict[str, Any]:
    """One seed: the folder, the fit, the bundle, MLflow."""
    from features.labelled import LabelledExamples
    from training import processes
    from training.data import describe
    from training.interruption import resumable
    from training.ranking_run import check_usable, train_ranker
    from training.run_folder import finish, open_folder, save_state, tracked_run

    examples = LabelledExamples.of_prepared(prepared, config.labels)
    if not processes.is_first():
        return train_ranker(config, examples, folder / "checkpoints", resume=resume, progress=False).figures
    base = _base(arguments, prepared) if arguments.into else None  # before anything is written
    if base is not None and base.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the run folder {folder} holds the bundle that is to carry the ranker; name another")
    check_usable(config, examples)
    facts = describe(prepared.dataset, prepared.split)
    state = open_folder(folder, config, facts, resume, say=say)
    tracked = None
    if not arguments.no_mlflow:
        name = f"{config.data.name}-{config.model.embeddings.kind}-s{config.seed}"
        experiment = arguments.experiment or "ranker"
        tracked = tracked_run(folder, state, config, facts, experiment, name, arguments.tracking_uri)
    with resumable(folder), tracked or contextlib.nullcontext():
        epochs = {one["epoch"]: one for one in state["epochs"]}

        def report(figures: dict[str, float], epoch: int) -> None:
            epochs[epoch] = {"epoch": epoch, **figures}
            save_state(folder, {**state, "epochs": [epochs[one] for one in sorted(epochs)]})
            if tracked is not None:
                tracked.metrics(figures, step=epoch)

        result = train_ranker(config, examples, folder / "checkpoints", resume=resume, report=report, say=say)
        pictures = _pictures(folder, result, [epochs[one] for one in sorted(epochs)])
        figures = {**result.figures, **{name: facts[name] for name in _OF_THE_DATA}}
        if base is not None:
            assert result.model is not None  # this is the first process
            say("adding the ranker to the bundle and measuring the lists that it re-ranks")
            figures |= _into(base, folder / "bundle", result.model, prepared)
            figures["bundle"] = str(folder / "bundle")
            if figures.get("reranked_ndcg@10", 1.0) < figures.get("retrieved_ndcg@10", 0.0):
                say("note: the retriever ranks the test items better than the ranker does (NDCG@10)")
        if tracked is not None:
            tracked.metrics({name: figures[name] for name in FIGURES if name in figures})
            for picture in pictures:
                tracked.file(picture, "plots")
            if base is not None:
                version = tracked.bundle(folder / "bundle", arguments.register)
                if version is not None:
                    from training.promotion import challenge

                    challenge(arguments.register, version, arguments.tracking_uri)
                    figures["version"] = version
    finish(folder, {"figures": figures})
    return figures


def _pictures(folder: Path, result: RankerResult, epochs: list[dict[str, float]]) -> list[Path]:
    """Learning curves, and whether scores are the chances that they say."""
    from training import plots

    curves = plots.learning_curves(epochs, result.figures["best_epoch"], "auc")
    scores = plots.reliability({"test": result.reliability}, of="share of examples that are positive")
    return [
        plots.saved(curves, folder / "learning_curves.png"),
        plots.saved(scores, folder / "reliability.png"),
    ]


def _base(arguments: argparse.Namespace, prepared: Prepared) -> Path:
    """The folder of the bundle that gets the ranker, which must have been trained on the same data and split.

    Raises:
        InputError: No such bundle, or one of other data, another split, or whose features are seen otherwise.
    """
    from serving.bundles.bundle import Bundle
    from serving.resolve import resolve

    folder = resolve(arguments.into, arguments.tracking_uri).folder
    bundle = Bundle.load(folder)
    manifest = bundle.manifest
    if manifest.data.get("sha256") != prepared.dataset.sha256:
        raise InputError(
            f"the bundle {arguments.into} was made from other data ({manifest.data.get('name')}); train the ranker on "
            "the data that the bundle was trained with"
        )
    if manifest.split.get("sha256") != prepared.split.sha256:
        raise InputError(
            f"the bundle {arguments.into} was trained under another split of this data, so what is for test here "
            "may have been for training there; give the ranker the same --split, and settings"
        )
    for name, digest in manifest.vocabularies.items():
        if name in prepared.vocabularies and prepared.vocabularies[name].sha256 != digest:
            raise InputError(f"the bundle {arguments.into} knows other values of {name!r} than its training part has")
    mine = {**prepared.user_encoder.statistics, **prepared.item_encoder.statistics}
    theirs = {**bundle.known.encoder.statistics, **bundle.item_encoder.statistics}
    for name, scale in mine.items():
        if tuple(theirs[name]) != tuple(scale):
            raise InputError(
                f"the bundle {arguments.into} scales {name!r} by the mean and deviation {tuple(theirs[name])}, and "
                f"this training part by {tuple(scale)}"
            )
    return folder


def _into(base: Path, out: Path, model: Ranker, prepared: Prepared) -> dict[str, float]:
    """Writes the bundle with the ranker; its manifest has the figures of both kinds of list."""
    from serving.bundles.bundle import with_metrics
    from serving.bundles.manifest import Manifest
    from serving.bundles.ranker_writer import with_ranker
    from training.bundle_evaluation import evaluate_reranked

    shutil.rmtree(out, ignore_errors=True)
    vocabularies = dict(prepared.vocabularies)
    if prepared.dataset.schema.history is not None:
        vocabularies[prepared.dataset.schema.history.name] = prepared.items
    with_ranker(base, model, vocabularies, out)
    manifest = Manifest.read(out)
    if manifest.refitted:  # its test items are training items now
        return {}
    figures = evaluate_reranked(out, prepared)
    with_metrics(out, {**manifest.metrics, **figures})
    return figures | {f"retrieved_{name}": manifest.metrics[name] for name in ("hr@10", "ndcg@10")}


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One run's figures; of several the means, with deviations and the single runs beside them."""
    if len(results) == 1:
        return results[0]
    there = [name for name in (*FIGURES, "seconds") if name in results[0]]
    mean = {name: statistics.mean(one[name] for one in results) for name in there}
    sd = {f"{name}_sd": statistics.stdev(one[name] for one in results) for name in ("auc", "logloss")}
    return {**results[0], **mean, **sd, "seed": [one["seed"] for one in results], "n": len(results), "runs": results}


def _told(figures: dict[str, Any]) -> str:
    shown = "  ".join(f"{name} {figures[name]:.4f}" for name in FIGURES if name in figures)
    bundle = f"  bundle {figures['bundle']}" if "bundle" in figures else ""
    bundle += f"  registered as version {figures['version']}" if "version" in figures else ""
    return f"seed {figures['seed']}: {shown}  best epoch {figures['best_epoch']}  {figures['seconds']:.0f} s{bundle}"
