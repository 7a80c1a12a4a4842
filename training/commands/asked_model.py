"""The model that a command line names: found before anything heavy is imported, and told where it is the newest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from training.commands.options import say

if TYPE_CHECKING:
    from serving.naming import Resolved


def asked_model(arguments: argparse.Namespace) -> Resolved:
    """The version that is named; of a name alone, people are told that nobody need have promoted it.

    Args:
        arguments: Those of `training.commands.options.model_argument`.

    Raises:
        InputError: No such model.
    """
    from serving.resolve import resolve

    found = resolve(arguments.model, arguments.tracking_uri)
    if arguments.model == f"models:/{found.name}":
        say(
            f"note: {arguments.model} is its newest version, {found.version}, whether it was promoted or not; "
            f"{arguments.model}@champion is the one that was"
        )
    return found
