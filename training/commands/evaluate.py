"""`recsys evaluate`"""

from __future__ import annotations

import argparse
import json
import sys

from training.commands.options import data_arguments, data_of_model, json_argument, model_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    data_arguments(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures a bundle on the test part, beside the baselines."""
    folder, manifest, prepared = data_of_model(arguments)

    from training.bundle_evaluation import evaluate_bundle
    from training.evaluation import METRICS, evaluate_baselines
    from training.release import note_on_comparing
    from training.report import table

    note = note_on_comparing(folder, prepared)
    if note:
        print(f"recsys evaluate: note: {note}", file=sys.stderr)
    official = evaluate_bundle(folder, prepared)
    if arguments.json:
        facts = {"model": arguments.model, "dataset": prepared.dataset.name, "split_hash": prepared.split.sha256}
        facts["knows_asking_time"] = manifest.knows_asking_time
        print(json.dumps({**facts, **{name: official[name] for name in METRICS}, "all": official}))
    else:
        print(table({arguments.model: official, **evaluate_baselines(prepared)}, prepared))
    return 0
