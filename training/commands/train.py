"""`recsys train`"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError
from training.commands.options import (
    configuration,
    data_arguments,
    json_argument,
    print_configuration,
    read_data,
    runs_of,
    say,
    say_reading,
    tracking_argument,
)
from training.families import CONFIGS, RUNS, described, trained_by

if TYPE_CHECKING:
    from training.runs import RunResult
    from training.warm_start import WarmStart


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "model",
        choices=[name for name in CONFIGS if name != "matcher"],  # which `recsys match train` trains
        help="what to train: a recommender (two-tower, sequential), a ranker of its candidates, or a text-encoder, a "
        "language model that is tuned on the texts of items which belong together",
    )
    data_arguments(parser)
    run = parser.add_argument_group("run")
    run.add_argument(
        "--from",
        dest="source",
        metavar="MODEL",
        help="of two-tower and sequential models: go on training this one on the data given, which may have users, "
        "items and values that it has never seen: models:/NAME@champion, models:/NAME/3 or a bundle's folder; its "
        "settings and features are kept",
    )
    run.add_argument("--seed", type=int, help="of the model's weights and of the batches (default: 0)")
    run.add_argument("--seeds", type=int, default=1, metavar="N", help="train with N seeds; print mean and deviation")
    run.add_argument(
        "--run-dir",
        type=Path,
        help="where the run's files go, in the place of an earlier run's (default: a folder of runs/ named by model, "
        "data, split, tables and fusion of texts, with one for each seed)",
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --run-dir, such as after a kill, with the settings it has",
    )
    run.add_argument("--print-config", action="store_true", help="print all settings of this model as YAML, and end")
    run.add_argument(
        "--into",
        metavar="MODEL",
        help="of a ranker: the retriever's bundle that is to carry it, as --from names one; it re-ranks its candidates",
    )
    run.add_argument(
        "--refit",
        action="store_true",
        help="of two-tower and sequential models: after evaluation, fit the released model on all the data",
    )
    run.add_argument(
        "--register", metavar="NAME", help="register the bundle as a version of this model; of a ranker, with --into"
    )
    run.add_argument("--experiment", help="MLflow's experiment (default: what is trained)")
    run.add_argument("--no-mlflow", action="store_true", help="do not log to MLflow")
    tracking_argument(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Trains once a seed and prints the figures."""
    if arguments.seeds < 1:
        raise InputError(f"--seeds is at least 1, got {arguments.seeds}")
    if arguments.seeds > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("--seeds is for one process, which trains them in turn; of several, each seed is a run")
    if arguments.no_mlflow and arguments.register:
        raise InputError("--register needs MLflow; leave out --no-mlflow")
    if arguments.resume and arguments.run_dir is not None and arguments.config is None:
        saved = arguments.run_dir / "config.yaml"
        arguments.config = saved if saved.is_file() else None
        trained = trained_by(arguments.run_dir)
        if trained not in (arguments.model, None):
            raise InputError(f"the run in {arguments.run_dir} trains a {trained} model, not a {arguments.model} model")
    if arguments.model == "ranker":
        from training.commands import train_ranker

        return train_ranker.run(arguments)
    if arguments.model == "text-encoder":
        from training.commands import train_text_encoder

        return train_text_encoder.run(arguments)
    if arguments.into:
        raise InputError("--into is for rankers: recsys train ranker --into MODEL")

    family = RUNS[arguments.model]
    start = _start(arguments)
    first = configuration(arguments, family.config, seed=arguments.seed)
    if start is not None:
        first = start.configured(first)
    if arguments.print_config:
        return print_configuration(first)

    from training import processes
    from training.data import prepare
    from training.report import table
    from training.runs import RunOptions
    from training.runs import run as train

    say_reading(first)
    first, dataset = read_data(arguments, first)
    prepared = prepare(first, dataset, say)
    of = "" if family.name == "two-tower" else f"{family.name}-"
    name = f"{of}{{data}}-{first.split.name}-{described(first.model)}" + ("" if start is None else "-continued")
    results = []
    for config, folder, resume in runs_of(arguments, first, name):
        options = RunOptions(
            folder=folder,
            resume=resume,
            refit=arguments.refit,
            register=arguments.register,
            experiment=arguments.experiment,
            tracking_uri=arguments.tracking_uri,
            track=not arguments.no_mlflow,
            say=say,
        )
        result = train(config, options, prepared, start)
        if result is not None:
            results.append(result)
            say(table(result.comparison, prepared))
    processes.leave()
    if results:
        print(json.dumps(_summary(results)) if arguments.json else _told(results))
    return 0


def _start(arguments: argparse.Namespace) -> WarmStart | None:
    """The model that training goes on from, if any; its settings become those that the arguments do not state."""
    source = arguments.source
    if source is None and arguments.resume and arguments.run_dir is not None:
        from training.run_folder import began_from

        source = began_from(arguments.run_dir)
    if source is None:
        return None
    from training.warm_start import WarmStart

    start = WarmStart.load(source, arguments.tracking_uri)
    if start.family != arguments.model:
        raise InputError(f"{source} is a {start.family} model, and a {arguments.model} is to be trained")
    arguments.settings = [*start.settings(arguments.config), *arguments.settings]
    return start


def _summary(results: list[RunResult]) -> dict:
    """One run's figures; of several the means, with deviations and the single runs beside them."""
    from training.evaluation import METRICS

    runs = [
        {
            **result.figures,
            "baselines": {
                name: {metric: row[metric] for metric in METRICS}
                for name, row in result.comparison.items()
                if name != result.figures["model"]
            },
        }
        for result in results
    ]
    if len(runs) == 1:
        return runs[0]
    numbers = [key for key, value in runs[0].items() if isinstance(value, float)]
    mean = {key: statistics.mean(one[key] for one in runs) for key in numbers}
    sd = {f"{key}_sd": statistics.stdev(one[key] for one in runs) for key in ("hr@10", "ndcg@10")}
    return {**runs[0], **mean, **sd, "seed": [one["seed"] for one in runs], "n": len(runs), "runs": runs}


def _told(results: list[RunResult]) -> str:
    from training import retention

    lines = []
    for result in results:
        figures = result.figures
        lines.append(
            f"seed {figures['seed']}: HR@10 {figures['hr@10']:.4f}  NDCG@10 {figures['ndcg@10']:.4f}  "
            f"best epoch {figures['best_epoch']}  {figures['seconds']:.0f} s  bundle {result.bundle}"
            + (f"  registered as version {result.version}" if result.version is not None else "")
        )
        if "from" in figures:
            lines.append(f"seed {figures['seed']}: {retention.told(figures)}")
    if len(results) > 1:
        both = _summary(results)
        lines.append(
            f"mean of {len(results)} seeds: HR@10 {both['hr@10']:.4f} (sd {both['hr@10_sd']:.4f})  "
            f"NDCG@10 {both['ndcg@10']:.4f} (sd {both['ndcg@10_sd']:.4f})"
        )
    return "\n".join(lines)
