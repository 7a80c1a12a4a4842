"""What the verbs have in common that train a matcher: where the run's files go, and what is said of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.options import say

if TYPE_CHECKING:
    from training.runs import RunOptions


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Where a run's files go, and how it is logged."""
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


def check_run(arguments: argparse.Namespace) -> None:
    """Refuses what cannot be together, and takes the configuration of the run that is gone on with.

    Raises:
        InputError: Names the option.
    """
    if arguments.no_mlflow and arguments.register:
        raise InputError("--register needs MLflow; leave out --no-mlflow")
    if arguments.resume and arguments.run_dir is None:
        raise InputError("--resume goes on with the run in --run-dir; name that")
    if arguments.resume and arguments.config is None and (arguments.run_dir / "config.yaml").is_file():
        arguments.config = arguments.run_dir / "config.yaml"


def run_options(arguments: argparse.Namespace, name: str, seed: int) -> RunOptions:
    """What a run is told besides its configuration.

    Args:
        arguments: Those of `run_arguments`.
        name: Of the folder under runs/, where none is named.
        seed: Of the run.
    """
    from training.runs import RunOptions

    return RunOptions(
        folder=arguments.run_dir or Path("runs") / name / f"s{seed}",
        resume=arguments.resume,
        register=arguments.register,
        experiment=arguments.experiment,
        tracking_uri=arguments.tracking_uri,
        track=not arguments.no_mlflow,
        say=say,
    )


def told_of_test_pairs(figures: dict[str, Any]) -> str:
    """A run's figures, for people."""
    told = "  ".join(f"{name} {figures[name]:.4f}" for name in ("f1", "precision", "recall", "calibration_error"))
    registered = f"  registered as version {figures['version']}" if "version" in figures else ""
    of = f"test pairs, labelled {figures['labels']}" if "labels" in figures else "test pairs"
    return (
        f"{of}: {told}  best epoch {figures['best_epoch']}  {figures['seconds']:.0f} s  "
        f"bundle {figures['bundle']}{registered}"
    )
