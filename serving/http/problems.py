"""What is wrong with a body: where, and one sentence about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serving.http.field_names import no_such_field

#: of one answer; a body may be wrong in a million places
_MOST = 20

#: columns of an invocation's frame, by the fields of the question that they are turned into
COLUMNS = {"user_ids": "user_id", "histories": "history", "history_times": "history_times", "asked_at": "asked_at"}
_FRAMES = {"dataframe_records": 1, "dataframe_split": 2}  # and where in its places the number of a row stands
_FIELD = re.compile(rf"\b({'|'.join(COLUMNS)})\[(\d+)\](?:\[(\d+)\])?")

_ALTERNATIVES = {"constrained-str", "str", "int", "float", "constrained-float", "bool", "none"}
_KIND = "Input should be "
_SENTENCES = dict.fromkeys(("model_attributes_type", "model_type", "dict_type"), "Input should be an object")
_JSON = {bool: "true or false", int: "an integer", float: "a number", str: "a string", dict: "an object"}


def problems_of(errors: Iterable[Mapping[str, Any]], shape: Any = None) -> list[dict[str, Any]]:
    """What pydantic has found. The input is not sent back: it may be large, or not be JSON at all.

    Args:
        errors: Of a `ValidationError`; one whose context has a `place` is so much further in.
        shape: Of the body, where it is known: its fields are named to whoever names one that is not there.
    """
    found: dict[tuple[str | int, ...], list[Mapping[str, Any]]] = {}
    for one in list(errors)[:_MOST]:
        # the alternatives of a union are pydantic's own affair
        place = [part for part in one["loc"] if part not in _ALTERNATIVES and not str(part).startswith("list[")]
        found.setdefault((*place, *one.get("ctx", {}).get("place", ())), []).append(one)
    return [
        {"loc": list(place), "msg": _placed(place, _sentence(some, place, shape)), "type": some[0]["type"]}
        for place, some in found.items()
    ]


def in_invocation(field: Sequence[str | int], split: bool) -> tuple[str | int, ...]:
    """Where in an invocation's body stands what a question made of it calls otherwise.

    Args:
        field: Of a `FieldError`, such as ("histories", 3, 0).
        split: Whether the body has a `dataframe_split`, and not records.

    Example:
        >>> in_invocation(("user_ids", 3), split=True), in_invocation(("where", "genre"), split=True)
        (('dataframe_split', 'data', 3, 'user_id'), ('params', 'where', 'genre'))
    """
    if not field or field[0] not in COLUMNS:
        return ("params", *field) if field else ()
    frame = ("dataframe_split", "data") if split else ("dataframe_records",)
    column, row, inside = COLUMNS[str(field[0])], field[1:2], field[2:]
    return (*frame, *row, column, *inside)


def told_by_rows(message: str) -> str:
    """A sentence about a question, with the words of the frame that it was made of.

    Example:
        >>> told_by_rows("histories[2][0] is the integer 7")
        "row 2, column 'history', item 0 is the integer 7"
    """
    return _FIELD.sub(lambda one: _cell(int(one[2]), COLUMNS[one[1]], one[3]), message)


def _sentence(some: Sequence[Mapping[str, Any]], place: Sequence[str | int], shape: Any) -> str:
    """One for all alternatives of which none fits."""
    if some[0]["type"] == "extra_forbidden":
        return no_such_field(shape, place[1:])  # the first part says that it is of the body
    if all(one["type"] == "list_type" for one in some) and "input" in some[0]:
        return f"is {_JSON.get(type(some[0]['input']), 'null')}, not a list"
    said = []
    for one in some:
        why = f": {one['ctx']['error']}" if one["type"] == "json_invalid" else ""
        said.append(_SENTENCES.get(one["type"], one["msg"].removeprefix("Value error, ")) + why)
    kinds = [one for one in dict.fromkeys(said) if one.startswith(_KIND)]
    # what is of a right kind, and wrong otherwise, is told by that
    other = next((one for one in said if not one.startswith(_KIND)), None)
    return other or " or ".join([kinds[0], *(one.removeprefix(_KIND) for one in kinds[1:])])


def _placed(place: Sequence[str | int], sentence: str) -> str:
    """A sentence, with the cell of an invocation's frame that it is about, if any."""
    cell = _in_frame(place)
    if not cell:
        return sentence
    return f"{cell} {sentence}" if sentence.startswith("is ") else f"{cell}: {sentence}"


def _in_frame(place: Sequence[str | int]) -> str:
    """Which row and column of an invocation's frame it is about, if any."""
    _, name, *inner = (*place, "", "")
    depth = _FRAMES.get(str(name))
    if depth is None:
        return ""
    if inner[0] == "columns" and isinstance(inner[1], int):
        return f"column {inner[1]}"
    row, *rest = inner[depth - 1 :]
    return _cell(row, *[one for one in rest if one != ""][:2]) if isinstance(row, int) else ""


def _cell(row: int, column: str | int | None = None, item: str | int | None = None) -> str:
    parts = [f"row {row}", None if column is None else f"column {column!r}", None if item is None else f"item {item}"]
    return ", ".join(one for one in parts if one is not None)
