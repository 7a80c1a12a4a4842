"""What is given to a client where a list is meant: a list, and no string, whose letters would be taken for ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: fields of requests for lists that are lists themselves
_LISTS = {
    "allow": "ids",
    "deny": "ids",
    "history_times": "lists of times",
    "asked_at": "times",
    "attributes": "attributes by column",
}


def as_list(given: Any, name: str, of: str) -> list[Any]:
    """What is to be a list: any sequence or array, but no string.

    Args:
        given: By whoever calls.
        name: Of the argument.
        of: What it is a list of.

    Raises:
        TypeError: It is none.

    Example:
        >>> as_list(("17", "42"), "user_ids", "ids")
        ['17', '42']
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"{name} is a list of {of}, got {given!r:.60}")
    return given.tolist() if hasattr(given, "tolist") else list(given)


def listed(how: Mapping[str, Any]) -> dict[str, Any]:
    """Other fields of a request, those that are there; of which some are lists of ids."""
    told = {name: one for name, one in how.items() if one is not None}
    return told | {name: as_list(told[name], name, of) for name, of in _LISTS.items() if name in told}
