"""The fields that a body has at some place, so that a name which is not among them leads to one that is."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

#: of a name that somebody has made up, so much is compared
_LONGEST = 60


def no_such_field(shape: Any, place: Sequence[str | int]) -> str:
    """What is said of a field that is not there.

    Args:
        shape: Of the body: a pydantic model, or a type made of such.
        place: Of the field in it; its name is the last part.

    Example:
        >>> class Question(BaseModel):
        ...     user_ids: list[str]
        ...     k: int = 10
        >>> no_such_field(Question, ["userId"]), no_such_field(Question, ["top"])
        ('there is no such field; did you mean user_ids?', 'there is no such field; there are user_ids and k')
    """
    *before, name = place or [""]
    names = _names_at(shape, before)
    lower = {one.lower(): one for one in names}
    close = get_close_matches(str(name)[:_LONGEST].lower(), lower, n=1)
    if close:
        return f"there is no such field; did you mean {lower[close[0]]}?"
    if not names:
        return "there is no such field"
    *most, last = names
    known = f"are {', '.join(most)} and {last}" if most else f"is {last}"
    return f"there is no such field; there {known}"


def _names_at(shape: Any, place: Sequence[str | int]) -> list[str]:
    """The fields of what stands at a place; a number is one in a list of alike ones."""
    shapes = _models(shape)
    for part in place:
        if not isinstance(part, int):
            fields = [one.model_fields[part] for one in shapes if part in one.model_fields]
            shapes = [model for field in fields for model in _models(field.annotation)]
    return list(dict.fromkeys(name for one in shapes for name in one.model_fields))


def _models(kind: Any) -> list[type[BaseModel]]:
    """The pydantic models that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for one in get_args(kind) for model in _models(one)]
