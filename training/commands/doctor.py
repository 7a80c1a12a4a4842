"""`recsys doctor`"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Status 0 when the installation is healthy, else 1."""
    from training import doctor

    return doctor.run(json=arguments.json)
