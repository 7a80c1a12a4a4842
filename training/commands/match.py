"""`recsys match`: train a matcher of records, let it judge pairs, and ask it why."""

from __future__ import annotations

import argparse
import importlib

#: what can be done, and what that is in a line; modules have `add_arguments(parser)` and `run(arguments)`
VERBS = {
    "train": ("match_train", "train a matcher on labelled pairs of records"),
    "distil": ("match_distil", "train a matcher that reads records apart, and costs little, to judge as another one"),
    "predict": ("match_predict", "say of pairs of records how likely they are the same thing"),
    "label": ("match_label", "choose the pairs from whose labels a matcher would learn most, and ask for them"),
    "suspects": ("match_suspects", "list labelled pairs whose labels look wrong"),
    "explain": ("match_explain", "say what decided about one pair: attributes, and words"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own verbs."""
    verbs = parser.add_subparsers(dest="match_verb", metavar="VERB", required=True)
    for verb, (module, summary) in VERBS.items():
        one = verbs.add_parser(verb, help=summary, description=summary[0].upper() + summary[1:] + ".")
        command = importlib.import_module(f"training.commands.{module}")
        command.add_arguments(one)
        one.set_defaults(match_command=command.run)


def run(arguments: argparse.Namespace) -> int:
    """Does one of them."""
    return arguments.match_command(arguments) or 0
