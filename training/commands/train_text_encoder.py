"""`recsys train text-encoder`: tunes a language model on pairs of texts that the data holds."""

from __future__ import annotations

import argparse
import contextlib
import json
from typing import Any

from features.errors import InputError
from training.commands.options import configuration, print_configuration, read_data, runs_of, say, say_reading


def run(arguments: argparse.Namespace) -> int:
    """Tunes once, and prints how well texts alone find items before and after."""
    from training import processes
    from training.text_encoder_config import TextEncoderTrainConfig

    for name, given in (
        ("--refit", arguments.refit),
        ("--from", arguments.source),
        ("--into", arguments.into),
        ("--register", arguments.register),
    ):
        if given:
            raise InputError(f"{name} is for recommenders; a text encoder is a folder, which text.encoder.model names")
    if arguments.seeds > 1:
        raise InputError(f"--seeds is 1 for a text encoder, got {arguments.seeds}")
    if processes.launched()[0] > 1:
        raise InputError("a text encoder is tuned by one process; start it without torchrun")
    first = configuration(arguments, TextEncoderTrainConfig, seed=arguments.seed)
    if arguments.print_config:
        return print_configuration(first)
    if not first.text.columns:
        raise InputError("text.columns is empty: it names the columns that an item's text is made of")

    from features.prepared import Prepared
    from training.data import describe, split
    from training.interruption import resumable
    from training.run_folder import finish, open_folder, tracked_run
    from training.text_encoder_run import Tuning

    say_reading(first)
    first, dataset = read_data(arguments, first)
    prepared = Prepared.of(dataset, split(first.split, dataset))
    config, folder, resume = next(runs_of(arguments, first, f"text-encoder-{{data}}-{first.pairs.kind}"))
    tuning = Tuning.of(config, prepared)  # before anything is written
    facts = describe(prepared.dataset, prepared.split)
    state = open_folder(folder, config, facts, resume, say=say)
    tracked = None
    if not arguments.no_mlflow:
        name = f"{config.data.name}-{config.pairs.kind}-s{config.seed}"
        experiment = arguments.experiment or "text-encoder"
        tracked = tracked_run(folder, state, config, facts, experiment, name, arguments.tracking_uri)
    with resumable(folder), tracked or contextlib.nullcontext():

        def report(figures: dict[str, float], epoch: int) -> None:
            if tracked is not None:
                tracked.metrics(figures, step=epoch)

        figures = tuning.run(folder, say, resume=resume, report=report)
        if tracked is not None:
            tracked.metrics({name: one for name, one in figures.items() if isinstance(one, float)})
    finish(folder, {"figures": figures})
    print(json.dumps(figures) if arguments.json else _told(figures))
    return 0


def _told(figures: dict[str, Any]) -> str:
    from training.text_encoder import FIGURES

    both = "  ".join(f"{one} {figures[f'frozen_{one}']:.4f} -> {figures[one]:.4f}" for one in FIGURES)
    return f"texts alone: {both}  best epoch {figures['best_epoch']}  encoder {figures['encoder']}"
