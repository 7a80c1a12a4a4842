"""`recsys demo`"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from training.commands.options import configuration_arguments, json_argument, tracking_argument

NAME = "demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "--interactions", type=int, default=100_000, help="how many are generated (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the data and of the model (default: %(default)s)")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo"), help="(default: %(default)s)")
    configuration_arguments(parser)
    tracking_argument(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Generates, trains, evaluates, registers, promotes, loads from the registry, and recommends."""
    from features.errors import InputError
    from features.prepared import Prepared
    from features.sources.catalogue import generate
    from serving.candidates import CandidateGenerator
    from serving.resolve import tracking_store
    from training.config import load_config
    from training.data import split
    from training.evaluation import evaluate_scores
    from training.promotion.gated import promote
    from training.report import table
    from training.runs import RunOptions
    from training.runs import run as train

    def say(line: str) -> None:
        print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    config = load_config(
        arguments.config,
        [
            "data.name=generated",
            f"data.settings.interactions={arguments.interactions}",
            f"data.settings.seed={arguments.seed}",
            f"seed={arguments.seed}",
            "split.name=time",  # what is tested on is later than all that the model knows, and so gates its promotion
            "optimiser.max_epochs=20",
            *arguments.settings,
        ],
    )
    say(f"1. generating a shop with {arguments.interactions:,} interactions")
    dataset, planted = generate(**config.data.settings)
    prepared = Prepared.of(dataset, split(config.split, dataset))
    say(f"   {dataset}")
    say("2. training a two-tower model, and ranking the whole catalogue for every test user")
    options = RunOptions(
        folder=arguments.run_dir,
        register=NAME,
        experiment=NAME,
        tracking_uri=arguments.tracking_uri,
        say=lambda line: say(f"   {line}"),
    )
    result = train(config, options, prepared)
    if result is None:  # of processes that torchrun started, the first does the rest
        return 0
    # tastes drift: withheld at random, test items are from the middle of a user's time on average, else from its end
    when = 0.5 if config.split.name == "random" else 1.0
    optimum = evaluate_scores(lambda users: planted.scores(users, at=when), prepared)
    say(table({**result.comparison, "planted optimum": optimum}, prepared))
    say("3. asking it, and the champion if there is one, about what came later, and promoting it if it passes")
    served = f"models:/{NAME}@champion"
    try:
        promotion = promote(
            NAME,
            result.version,
            dataset=dataset,
            why="recsys demo",
            uri=arguments.tracking_uri,
            say=lambda line: say(f"   {line}"),
        )
        say("\n".join(f"   {one.name}: {one.told}" for one in promotion.gates))
        say(f"   {promotion}")
    except InputError as refused:  # such as beside the champion of an earlier demo, with other data
        served = f"models:/{NAME}/{result.version}"
        say(f"   not promoted: {refused}")
    generator = CandidateGenerator.load(served, tracking_uri=arguments.tracking_uri)
    say("4. recommending")
    users = _three_users(prepared)
    answer = generator.recommend(user_ids=users, k=5)
    titles = dict(dataset.items.select("item_id", "title").iter_rows())
    for n, user in enumerate(users):
        row = int(prepared.users.rows([user])[0])
        history = prepared.items.ids_of(prepared.test_histories.row(row)[-5:]).to_list()
        say("\n".join([f"\n   {user} lately took", *(f"      - {titles[item]}" for item in history)]))
        say("\n".join(["   and is recommended", *(f"      * {titles[item]}" for item in answer.item_ids[n])]))
    store = tracking_store(arguments.tracking_uri)
    say("\n5. next")
    say(f"   look at the run:    .venv/bin/mlflow ui --backend-store-uri {store}")
    say(f"   start the service:  .venv/bin/recsys serve --model {served}")
    say(f"   and ask it:         curl -s localhost:8000/candidates -H 'content-type: application/json' "
        f"-d '{json.dumps({'user_ids': users[:1], 'k': 3})}'")  # fmt: skip
    if arguments.json:
        print(json.dumps({**result.figures, "comparison": {**result.comparison, "planted-optimum": optimum}}))
    return 0


def _three_users(prepared) -> list:
    """Three users with a history, spread over the catalogue's users, the same at each run."""
    import numpy as np

    active = np.flatnonzero(prepared.test_histories.lengths >= 5)
    chosen = active[np.linspace(0, len(active) - 1, 5).astype(int)[1:4]]
    return prepared.users.ids_of(chosen).to_list()
