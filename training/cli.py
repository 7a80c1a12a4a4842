"""The console script `recsys`: one verb a module of `training.commands`, loaded when it is used."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from features.errors import InputError
from training.commands.named import check_named
from training.usage import Parser, tell

#: verb -> (module, one line of help); modules have `add_arguments(parser)` and `run(arguments) -> exit status`
COMMANDS = {
    "doctor": ("doctor", "say what is installed, whether it works, and how to mend what does not"),
    "data": ("data", "read and check a data set, describe it, and write it as tables"),
    "train": ("train", "train, evaluate and log a model"),
    "evaluate": ("evaluate", "measure a bundle on a split of a data set"),
    "interests": ("interests", "let a bundle ask for each of a user's interests, with settings chosen on validation"),
    "models": ("models", "list the registered models, or the versions of one, and who promoted them, when and why"),
    "promote": ("promote", "make a registered version the champion"),
    "rollback": ("rollback", "make the previous champion the champion again"),
    "resolve": ("resolve", "find out which records of tables are the same thing, and keep their ids"),
    "serve": ("serve", "answer candidate requests over HTTP, or those of a matcher, or of entities"),
    "recommend": ("recommend", "print candidates for users or histories"),
    "similar": ("similar", "print the items most like some items"),
    "users": ("users", "erase users from a store of events, and say which models still carry them"),
    "match": ("match", "train matchers of records, let them judge pairs, and ask them why"),
    "completion": ("completion", "print what lets a shell complete verbs and options"),
    "demo": ("demo", "the whole way on generated data, from interactions to served candidates"),
}


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        only: Load just this verb's arguments, so that the others' modules stay unread.
    """
    root = Parser(
        prog="recsys",
        description="Train, evaluate, promote and serve recommenders.",
        epilog="'recsys VERB --help' tells more about a verb.",
    )
    root.add_argument("--version", action="store_true", help="print the version and end")
    verbs = root.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for verb, (module, summary) in COMMANDS.items():
        one = verbs.add_parser(verb, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if only in (None, verb):
            command = importlib.import_module(f"training.commands.{module}")
            command.add_arguments(one)
            one.set_defaults(command=command.run)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns:
        The exit status: 0, 2 for input that cannot be used (after one line that says why), 130 when interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in argv if not word.startswith("-")), "")
    root = parser(verb)
    arguments = root.parse_args(argv)
    if arguments.version:
        from importlib.metadata import version

        print(version("recsys-unified"))
        return 0
    if not arguments.verb:
        root.print_help()
        return 2
    try:
        check_named(arguments)
        return arguments.command(arguments) or 0
    except InputError as error:
        tell(f"{arguments.called}: error: {error}")
        return 2
    except KeyboardInterrupt as error:
        how = f"; {error}" if str(error) else ""
        print(f"\n{arguments.called}: interrupted{how}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
