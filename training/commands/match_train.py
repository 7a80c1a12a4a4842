"""`recsys match train`"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.options import (
    configuration_arguments,
    json_argument,
    print_configuration,
    say,
    tracking_argument,
)
from training.commands.record_options import given, record_arguments

if TYPE_CHECKING:
    from training.matching.config import MatchTrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    record_arguments(parser, "with a column label (0 or 1), and part (train, validation, test) if you like")
    group = parser.add_argument_group("published data")
    group.add_argument(
        "--data",
        metavar="NAME",
        help="in place of tables: deepmatcher (tableA.csv, tableB.csv, train.csv ...) or serialised-pairs (Ditto's "
        "train.txt ...)",
    )
    group.add_argument("--root", metavar="FOLDER", help="the data's folder")
    configuration_arguments(parser)
    run = parser.add_argument_group("run")
    run.add_argument("--seed", type=int, help="of first weights, draws and dropout (default: 0)")
    run.add_argument(
        "--run-dir",
        type=Path,
        help="where the run's files go, in the place of an earlier run's (default: a folder of runs/)",
    )
    run.add_argument("--resume", action="store_true", help="go on with the run in --run-dir, such as after a kill")
    run.add_argument("--print-config", action="store_true", help="print all settings as YAML, and end")
    run.add_argument("--register", metavar="NAME", help="register the matcher as a version of this model")
    run.add_argument("--experiment", help="MLflow's experiment (default: matcher)")
    run.add_argument("--no-mlflow", action="store_true", help="do not log to MLflow")
    tracking_argument(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Trains once, and prints how well the test pairs are told apart."""
    if arguments.no_mlflow and arguments.register:
        raise InputError("--register needs MLflow; leave out --no-mlflow")
    if arguments.resume and arguments.run_dir is None:
        raise InputError("--resume goes on with the run in --run-dir; name that")
    if arguments.resume and arguments.config is None and (arguments.run_dir / "config.yaml").is_file():
        arguments.config = arguments.run_dir / "config.yaml"
    config = _configuration(arguments)
    if arguments.print_config:
        return print_configuration(config)

    from training.matching.run import run as train
    from training.runs import RunOptions

    data = config.data
    files = [str(data.settings.get("left", "")), *_listed(data.settings.get("pairs", []))]
    name = "-".join(Path(one).stem for one in filter(None, [*files, data.root])) or data.name
    options = RunOptions(
        folder=arguments.run_dir or Path("runs") / f"matcher-{name}" / f"s{config.seed}",
        resume=arguments.resume,
        register=arguments.register,
        experiment=arguments.experiment,
        tracking_uri=arguments.tracking_uri,
        track=not arguments.no_mlflow,
        say=say,
    )
    result = train(config, options)
    print(json.dumps(result.figures) if arguments.json else _told(result.figures))
    return 0


def _configuration(arguments: argparse.Namespace) -> MatchTrainConfig:
    from training.config import load_config
    from training.matching.config import MatchTrainConfig

    config = load_config(
        arguments.config,
        arguments.settings,
        MatchTrainConfig,
        data__name=arguments.data,
        data__root=arguments.root,
        seed=arguments.seed,
    )
    tables = given(arguments)
    if tables:
        if config.data.name != "record-tables":
            first = next(iter(tables)).replace("_", "-")
            raise InputError(f"--{first} is for tables of one's own, and --data {config.data.name} brings its own")
        settings = {**config.data.settings, **tables}
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, settings=settings))
    if config.data.name == "record-tables" and not arguments.print_config:
        for needed, what in (("left", "a table of records"), ("pairs", "a table of labelled pairs")):
            if needed not in config.data.settings:
                raise InputError(f"--{needed} names {what}, and is missing; --data names published data")
    return config


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _told(figures: dict[str, Any]) -> str:
    told = "  ".join(f"{name} {figures[name]:.4f}" for name in ("f1", "precision", "recall", "calibration_error"))
    registered = f"  registered as version {figures['version']}" if "version" in figures else ""
    return (
        f"test pairs: {told}  best epoch {figures['best_epoch']}  {figures['seconds']:.0f} s  "
        f"bundle {figures['bundle']}{registered}"
    )
