"""`recsys match distil`"""

from __future__ import annotations

import argparse
import json

from features.errors import InputError
from training.commands.matcher_run import check_run, run_arguments, run_options, told_of_test_pairs
from training.commands.options import configuration_arguments, json_argument, model_argument, print_configuration, say
from training.commands.record_options import judging, read_given_pairs, read_tables, record_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser, what=": the matcher that teaches")
    record_arguments(parser, "what to judge (default: candidates of a blocker)")
    parser.add_argument("-n", type=int, default=20_000, help="how many pairs it judges (default: %(default)s)")
    configuration_arguments(parser)
    run_arguments(parser)
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Lets a matcher judge many pairs, and trains a cheaper one on that."""
    check_run(arguments)
    if arguments.n < 20:
        raise InputError(f"-n is at least 20, got {arguments.n}")
    from training.config import load_config
    from training.matching.config import MatchTrainConfig
    from training.matching.distil import STUDENT

    settings = [*([] if arguments.config else STUDENT), *arguments.settings]
    config = load_config(arguments.config, settings, MatchTrainConfig, seed=arguments.seed)
    if arguments.print_config:
        return print_configuration(config)

    from recsys.blocking.blocker import block
    from serving.matching.matcher import Matcher
    from training.matching.distil import taught
    from training.matching.run import run as train

    teacher = Matcher.load(arguments.model, tracking_uri=arguments.tracking_uri)
    attributes = teacher.manifest.attributes
    if arguments.pairs is None:
        pairs = block(*read_tables(arguments, attributes)).pairs
    else:
        pairs = read_given_pairs(arguments, attributes)
    say(f"{teacher!r} judges {min(arguments.n, len(pairs)):,} of {len(pairs):,} pairs")
    with judging() as progress:
        data = taught(teacher, pairs, arguments.n, config.seed, progress)
    result = train(config, run_options(arguments, f"matcher-of-{teacher.resolved.name}", config.seed), data)
    print(json.dumps(result.figures) if arguments.json else told_of_test_pairs(result.figures))
    return 0
