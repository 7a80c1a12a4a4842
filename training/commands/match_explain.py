"""`recsys match explain`"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import InputError
from training.commands.options import json_argument, model_argument
from training.commands.record_options import read_tables, record_arguments

if TYPE_CHECKING:
    from features.records import Records

#: words that are printed
_WORDS = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    model_argument(parser)
    record_arguments(parser, None)
    parser.add_argument("--ids", nargs=2, metavar="ID", required=True, help="of the left record, and of the right one")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also draw it, such as why.png")
    json_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints what decided about one pair."""
    picture = arguments.picture
    if picture is not None and (picture.suffix not in (".png", ".svg", ".pdf") or not picture.parent.is_dir()):
        raise InputError(f"--picture is a .png, .svg or .pdf in a folder that is there, got {picture}")

    from serving.matching.matcher import Matcher

    matcher = Matcher.load(arguments.model, tracking_uri=arguments.tracking_uri)
    tables = read_tables(arguments, matcher.manifest.attributes)
    left, right = (_record(table, one) for table, one in zip(tables, arguments.ids, strict=True))
    found = matcher.explain(left, right)
    scores = matcher.scored(found)
    score = scores.frame().row(0, named=True)
    if picture is not None:
        found.draw(picture)
    if arguments.json:
        words = found.frame().to_dicts()
        told = {
            **score,
            "threshold": scores.threshold,
            "uncalibrated_log_odds": found.log_odds,
            "attributes": found.attributes,
            "words": words,
        }
        print(json.dumps(told))
        return 0
    verdict = "the same" if score["same"] else "different"
    print(f"{verdict}: probability {score['probability']:.4f} (the same is from {scores.least_probability:.4f} on)")
    for name, record in (("left", left), ("right", right)):
        print(f"{name}: " + "; ".join(f"{key}: {one}" for key, one in record.items() if one))
    print(f"log-odds before calibration: {found.log_odds:+.2f}; without one of these, they would be lower by")
    for name, share in sorted(found.attributes.items(), key=lambda one: -abs(one[1])):
        print(f"{share:+8.2f}  attribute {name}")
    for one in found.frame().head(_WORDS).iter_rows(named=True):
        print(f"{one['share']:+8.2f}  {one['word']}  ({one['side']} {one['attribute']})")
    return 0


def _record(table: Records, asked: str) -> dict[str, str]:
    """What a table tells of a record.

    Raises:
        InputError: It has no such record.
    """
    import polars as pl

    row = int(table.rows(pl.Series("id", [asked]))[0])
    if row < 0:
        raise InputError(f"{table.name} has no record with the id {asked!r}")
    return table.values.row(row, named=True)
