"""Arguments that several verbs share, and how they become a configuration."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError

if TYPE_CHECKING:
    from features.dataset import Dataset
    from features.prepared import Prepared
    from serving.bundles.manifest import Manifest
    from serving.candidates import CandidateGenerator


def data_arguments(parser: argparse.ArgumentParser, default: str | None = None, splits: bool = True) -> None:
    """Which data, and how it is split.

    Args:
        parser: Of the verb.
        default: Data that is taken where none is named.
        splits: Whether it is split at all.
    """
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data",
        metavar="NAME",
        default=default,
        help="tables, sequences, sessions, lightgcn, ml-1m, or generated: a shop, made on the spot",
    )
    group.add_argument("--root", metavar="PATH", help="the data's folder or file; without one, ml-1m is downloaded")
    parser.set_defaults(split=None)
    if not splits:
        configuration_arguments(parser)
        return
    group.add_argument(
        "--split",
        metavar="NAME",
        help="random, leave-one-out, time, cold-items, sessions or given (default: leave-one-out of sequential models, "
        "else random; given where the interactions have a column 'part')",
    )
    configuration_arguments(parser)


def configuration_arguments(parser: argparse.ArgumentParser) -> None:
    """A YAML file and single settings."""
    group = parser.add_argument_group("configuration")
    group.add_argument("--config", metavar="FILE", help="a YAML file, such as the config.yaml of an earlier run")
    group.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="one setting, such as optimiser.lr=2e-3 or data.settings.min_rating=3; can be repeated",
    )


def model_argument(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, required: bool = True, what: str = ""
) -> None:
    """Which model, and where it is tracked.

    Args:
        parser: Of the verb, or a group of it.
        required: Whether there is no doing without.
        what: What else there is to say of it.
    """
    told = f"models:/NAME@champion, models:/NAME/3 or a bundle's folder{what}"
    parser.add_argument("--model", metavar="MODEL", required=required, help=told)
    tracking_argument(parser)


def tracking_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Where runs and models are kept."""
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow's store (default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)"
    )


def new_items_argument(parser: argparse.ArgumentParser) -> None:
    """Items that have come since the model was built."""
    parser.add_argument(
        "--new-items",
        type=Path,
        metavar="FILE",
        help="items that have come since the model was built, as `recsys serve --new-items` keeps them: a line each, "
        'such as {"item_id": "B01", "attributes": {"title": "Rose soap"}}',
    )


def with_new_items(arguments: argparse.Namespace) -> CandidateGenerator:
    """The model that the arguments name, with the new items that they name.

    Raises:
        InputError: No such model or file, or one that cannot be used.
    """
    new = arguments.new_items
    if new is not None and not new.is_file():
        raise InputError(f"there are no new items at {new}: not a file")
    from training.commands.asked_model import asked_model

    resolved = asked_model(arguments)
    from features.item_log import ItemLog
    from serving.candidates import CandidateGenerator  # heavy: a model that is not there is told before

    generator = CandidateGenerator.of(resolved, new_items=new)
    if "@" in str(arguments.model):  # an alias may be of any version
        say(f"{resolved.name}: version {resolved.version} answers")
    for notice in filter(None, (generator.new_items.notice, ItemLog(new).unfinished() if new else None)):
        say(notice)
    return generator


def json_argument(parser: argparse.ArgumentParser) -> None:
    """Figures for programs."""
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object, as the last line")


def configuration(arguments: argparse.Namespace, kind: type | None = None, **given: object) -> Any:
    """The configuration that the arguments describe; single arguments win over `--set`, which wins over `--config`.

    Args:
        arguments: Those of `data_arguments`.
        kind: Of configuration; `TrainConfig` where not given.
        given: As `training.config.load_config`.
    """
    from features.sources import check_name
    from training.config import TrainConfig, load_config

    config = load_config(
        arguments.config,
        arguments.settings,
        kind or TrainConfig,
        data__name=arguments.data,
        data__root=arguments.root,
        split__name=arguments.split,
        **given,
    )
    check_name(config.data.name)
    return config


def read_data(arguments: argparse.Namespace, config: Any) -> tuple[Any, Dataset]:
    """The configured data; and the configuration, of the split `given` where the data has one and none is named.

    Args:
        arguments: Those of `data_arguments`.
        config: What `configuration` gave.
    """
    from training.data import load, with_given_parts

    dataset = load(config.data)
    if not _names_split(arguments):
        found = with_given_parts(config, dataset)
        if found is not config:
            say("the interactions have a column 'part', so the split is given, by what it says; --split names another")
            config = found
    return config, dataset


def data_of_model(arguments: argparse.Namespace) -> tuple[Path, Manifest, Prepared]:
    """The folder of the bundle that the arguments name, its manifest, and the data that they name as it reads them.

    Args:
        arguments: Those of `model_argument` and `data_arguments`.

    Raises:
        InputError: No data is named, or anything that is named cannot be used.
    """
    from training.commands.asked_model import asked_model

    if arguments.data is None and arguments.config is None:
        raise InputError("name the data to measure on with --data, or with the --config of the run")
    folder = asked_model(arguments).folder

    from serving.bundles.item_texts import BundleText
    from serving.bundles.manifest import Manifest
    from training.data import prepare
    from training.families import family_of_kind

    manifest = Manifest.read(folder)
    config, dataset = read_data(arguments, configuration(arguments, family_of_kind(manifest.kind).config))
    if manifest.has_text:  # what the model reads of items is its own business, and where that is kept is not
        text = BundleText.read(folder)
        text.check_model()
        config = dataclasses.replace(config, text=dataclasses.replace(text.config, store=config.text.store))
    return folder, manifest, prepare(config, dataset, say)


def _names_split(arguments: argparse.Namespace) -> bool:
    """Whether the arguments say which split, in any of the three ways."""
    import yaml

    if arguments.split is not None:
        return True
    if any(one.partition("=")[0].strip() in ("split", "split.name") for one in arguments.settings):
        return True
    if arguments.config is None:
        return False
    stated = yaml.safe_load(Path(arguments.config).read_text(encoding="utf-8"))  # `configuration` has read it
    split = (stated or {}).get("split") or {}
    return not isinstance(split, dict) or "name" in split


def print_configuration(config: Any) -> int:
    """All settings as YAML, and the exit status."""
    import yaml

    from training.config import as_dict

    print(yaml.safe_dump(as_dict(config), sort_keys=False), end="")
    return 0


def say(line: str) -> None:
    """Tells people what is going on; of several processes, the first talks."""
    from training import processes

    if processes.is_first():
        print(line, file=sys.stderr, flush=True)


def say_reading(config: Any) -> None:
    """Tells people what a run begins with: its data, and its processes where they are several."""
    from training import processes

    together, _ = processes.launched()
    say(f"reading {config.data.name}" + (f", to train in {together} processes" if together > 1 else ""))


def runs_of(arguments: argparse.Namespace, first: Any, name: str) -> Iterator[tuple[Any, Path, bool]]:
    """Each seed's run: its configuration, its folder, and whether it goes on; of several seeds, some have not begun.

    Args:
        arguments: Of `recsys train`.
        first: The configuration with the first seed.
        name: Of the default folder, with "{data}" for the data's name.
    """
    data = "-".join(dict.fromkeys(filter(None, (first.data.name, Path(first.data.root).stem))))
    place = arguments.run_dir or Path("runs") / name.format(data=data)
    for seed in range(first.seed, first.seed + arguments.seeds):
        folder = place / f"s{seed}" if arguments.seeds > 1 or arguments.run_dir is None else place
        resume = arguments.resume and (arguments.seeds == 1 or folder.exists())
        yield dataclasses.replace(first, seed=seed), folder, resume
