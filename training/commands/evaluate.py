"""`recsys evaluate`"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from features.errors import InputError
from training.commands.options import configuration, data_arguments, json_argument, model_argument, read_data, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    data_arguments(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures a bundle on the test part, beside the baselines."""
    from serving.item_texts import BundleText
    from serving.manifest import Manifest
    from serving.resolve import resolve
    from training.bundle_evaluation import evaluate_bundle
    from training.data import prepare
    from training.evaluation import METRICS, evaluate_baselines
    from training.families import family_of_kind
    from training.release import note_on_comparing
    from training.report import table

    if arguments.data is None and arguments.config is None:
        raise InputError("name the data to measure on with --data, or with the --config of the run")
    resolved = resolve(arguments.model, tracking_uri=arguments.tracking_uri)
    manifest = Manifest.read(resolved.folder)
    family = family_of_kind(manifest.kind)
    config, dataset = read_data(arguments, configuration(arguments, family.config))
    if manifest.has_text:  # what the model reads of items is its own business, and where that is kept is not
        text = BundleText.read(resolved.folder)
        text.check_model()
        config = dataclasses.replace(config, text=dataclasses.replace(text.config, store=config.text.store))
    prepared = prepare(config, dataset, say)
    note = note_on_comparing(resolved.folder, prepared)
    if note:
        print(f"recsys evaluate: note: {note}", file=sys.stderr)
    official = evaluate_bundle(resolved.folder, prepared)
    if arguments.json:
        facts = {"model": arguments.model, "dataset": prepared.dataset.name, "split_hash": prepared.split.sha256}
        facts["knows_asking_time"] = manifest.knows_asking_time
        print(json.dumps({**facts, **{name: official[name] for name in METRICS}, "all": official}))
    else:
        print(table({arguments.model: official, **evaluate_baselines(prepared)}, prepared))
    return 0
