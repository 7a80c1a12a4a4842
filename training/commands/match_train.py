"""`recsys match train`"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError
from training.commands.matcher_run import check_run, run_arguments, run_options, told_of_test_pairs
from training.commands.options import (
    configuration_arguments,
    json_argument,
    print_configuration,
    tracking_argument,
)
from training.commands.record_options import check_given, given, record_arguments

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
    run_arguments(parser)
    tracking_argument(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Trains once, and prints how well the test pairs are told apart."""
    check_run(arguments)
    config = _configuration(arguments)
    if arguments.print_config:
        return print_configuration(config)

    from training.matching.run import run as train

    data = config.data
    files = [str(data.settings.get("left", "")), *_listed(data.settings.get("pairs", []))]
    name = "-".join(Path(one).stem for one in filter(None, [*files, data.root])) or data.name
    result = train(config, run_options(arguments, f"matcher-{name}", config.seed))
    print(json.dumps(result.figures) if arguments.json else told_of_test_pairs(result.figures))
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
        root = Path(config.data.root).expanduser() if config.data.root else None
        check_given(config.data.settings, root, labelled=True)
    return config


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
