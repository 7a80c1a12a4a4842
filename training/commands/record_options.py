"""Arguments of the verbs that read tables of records, and how they become records and pairs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import InputError
from training.commands.table_columns import AskedTable, check_pairs, check_tables

if TYPE_CHECKING:
    from features.record_pairs import RecordPairs
    from features.records import Records

#: arguments by the settings of the source record-tables that they stand for
_SETTINGS = ("left", "right", "pairs", "left_id", "right_id", "left_columns", "right_columns", "pairs_columns")


def record_arguments(parser: argparse.ArgumentParser, pairs: str | None) -> None:
    """One or two tables, and pairs of their records.

    Args:
        parser: Of the verb.
        pairs: What the pairs are for; None for a verb that needs none.
    """
    group = parser.add_argument_group("records")
    group.add_argument("--left", metavar="FILE", help="one table of records, CSV or parquet")
    group.add_argument("--right", metavar="FILE", help="the other one (default: the same)")
    if pairs is not None:
        group.add_argument(
            "--pairs",
            metavar="FILE",
            action="append",
            help=f"a table with columns left_id and right_id: {pairs}; can be repeated",
        )
        pairs_columns_argument(group)
    for side in ("left", "right"):
        group.add_argument(f"--{side}-id", metavar="COLUMN", help=f"the {side} table's column of ids (default: id)")
        group.add_argument(
            f"--{side}-columns",
            metavar="NAME=COLUMN,...",
            type=mapping,
            help=f"attributes, each with the column of the {side} table that says it (default: all columns as they are "
            "called)",
        )
    # as `recsys resolve` takes them, whose sources have other names
    group.add_argument("--id", action=_OfSide, metavar="left|right=COLUMN", help="the same as --left-id and --right-id")
    group.add_argument(
        "--columns",
        action=_OfSide,
        metavar="left|right:NAME=COLUMN,...",
        help="the same as --left-columns and --right-columns",
    )


class _OfSide(argparse.Action):
    """`--id left=sku` is `--left-id sku`, and `--columns left:title=name` is `--left-columns title=name`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "default": argparse.SUPPRESS})

    def __call__(self, _: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        side, sign, rest = str(values).partition("=" if self.dest == "id" else ":")
        if side not in ("left", "right") or not sign or not rest:
            raise argparse.ArgumentError(self, f"{values!r} is not {self.metavar}")
        try:
            setattr(namespace, f"{side}_{self.dest}", rest if self.dest == "id" else mapping(rest))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def pairs_columns_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """What the columns of a table of pairs are called."""
    parser.add_argument(
        "--pairs-columns",
        metavar="NAME=COLUMN,...",
        type=mapping,
        help="what stands for left_id, right_id and label in --pairs, such as left_id=ours,right_id=theirs,label=same",
    )


def mapping(text: str) -> dict[str, str]:
    """Attributes with their columns; a name alone is both, and one with no column is told of no record.

    Example:
        >>> mapping("title=name,price,brand=")
        {'title': 'name', 'price': 'price', 'brand': ''}
    """
    found: dict[str, str] = {}
    for one in text.split(","):
        name, sign, column = (part.strip() for part in one.partition("="))
        if not name or name in found:
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COLUMN,... with different names")
        found[name] = column if sign else name
    return found


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said, as settings of the source record-tables."""
    found = {name: getattr(arguments, name, None) for name in _SETTINGS}
    return {name: one for name, one in found.items() if one is not None}


def check_given(settings: Mapping[str, Any], root: Path | None = None, labelled: bool = False) -> None:
    """Refuses tables that lack columns, with the options that map them.

    Args:
        settings: Of the source record-tables.
        root: The folder that the names of files begin from.
        labelled: Whether pairs have to have labels.

    Raises:
        InputError: Names all that is wrong with their columns.
    """
    here = root or Path()
    sides: list[AskedTable] = []
    for side in ("left", "right"):
        file, columns = settings.get(side), settings.get(f"{side}_columns")
        if not file or (sides and file == settings["left"]):
            continue
        if sides and columns:  # what is not mapped is called as the attributes are
            columns = {**{one: one for one in sides[0].attributes}, **columns}
        like = sides[0] if sides else None
        options = (f"--{side}-id COLUMN", f"--{side}-columns ")
        sides.append(AskedTable(here / str(file), settings.get(f"{side}_id", "id"), *options, columns, like=like))
    check_tables(sides)
    pairs = settings.get("pairs") or []
    paths = [here / one for one in ([pairs] if isinstance(pairs, str) else pairs)]
    check_pairs(paths, settings.get("pairs_columns"), labelled)


def read_tables(arguments: argparse.Namespace, attributes: list[str]) -> tuple[Records, Records]:
    """Both tables, with the attributes that a matcher reads.

    Args:
        arguments: Those of `record_arguments`.
        attributes: What the matcher is told of a record, in order.

    Raises:
        InputError: A table that is missing, or cannot be read.
    """
    from features.sources.record_tables import read_records, told_columns

    if arguments.left is None:
        raise InputError("--left names a table of records, and is missing")
    settings = given(arguments)
    one_table = arguments.right is None or arguments.right == arguments.left
    if one_table:
        for option in ("right_id", "right_columns"):
            if getattr(arguments, option) is not None:
                raise InputError(f"--{option.replace('_', '-')} is of a right table, and --right names none")
    for name in ("left_columns", "right_columns"):
        option = f"--{name.replace('_', '-')}"
        settings[name] = told_columns(settings.get(name, {}), attributes, option)
    check_given(settings)
    sides = ("left",) if one_table else ("left", "right")
    found = [
        read_records(Path(settings[one]), settings[f"{one}_columns"], settings.get(f"{one}_id", "id")) for one in sides
    ]
    return found[0], found[-1]


def told_attributes(arguments: argparse.Namespace) -> list[str]:
    """What the left table tells of its records, where no matcher says what is asked.

    Raises:
        InputError: A table that is missing, or cannot be read.
    """
    if arguments.left is None:
        raise InputError("--left names a table of records, and is missing")
    return AskedTable(Path(arguments.left), arguments.left_id or "id", "", "", arguments.left_columns).attributes


def read_given_pairs(arguments: argparse.Namespace, attributes: list[str], labelled: bool = False) -> RecordPairs:
    """The pairs that the arguments name.

    Args:
        arguments: Those of `record_arguments`.
        attributes: What the matcher is told of a record, in order.
        labelled: Only those that have a label.

    Raises:
        InputError: A table that is missing, or cannot be read.
    """
    from features.sources.record_tables import read_pairs

    if arguments.pairs is None:
        raise InputError("--pairs names a table of pairs, and is missing")
    tables = read_tables(arguments, attributes)
    return read_pairs([Path(one) for one in arguments.pairs], *tables, labelled, arguments.pairs_columns)


@contextlib.contextmanager
def judging(total: int = 0) -> Iterator[Callable[[int, int], None]]:
    """A bar of pairs per second where standard error is a terminal; what it gives is called with how many are done."""
    from tqdm import tqdm

    with tqdm(total=total, unit="pair", desc="judging", disable=not sys.stderr.isatty()) as bar:

        def judged(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield judged
