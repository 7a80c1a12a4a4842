"""`recsys data`"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training.commands.options import configuration, data_arguments, json_argument, read_data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    data_arguments(parser, default="generated")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="write the data set as parquet tables and a schema")
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Describes a data set and its split."""
    from training.data import describe, split

    config, dataset = read_data(arguments, configuration(arguments))
    facts = describe(dataset, split(config.split, dataset))
    if arguments.out is not None:
        from features.sources.tables import write_tables

        write_tables(dataset, arguments.out)
        facts["written"] = str(arguments.out)
    if arguments.json:
        print(json.dumps(facts))
    else:
        width = max(map(len, facts))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))
    return 0
