"""Settings that arrive as a mapping, from YAML or a command line, checked against the function that takes them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from features.errors import InputError


def check_settings(function: Callable, settings: Mapping[str, Any], what: str) -> None:
    """Refuses a setting that the function does not take, or not with such a value.

    Args:
        function: Its parameters without "root" and "dataset" are the settings; their annotations say the types.
        settings: What was given.
        what: Who takes them, for the message.

    Raises:
        InputError: Names the setting.

    Example:
        >>> def make(rows: int = 3, seed: int = 0): ...
        >>> check_settings(make, {"rows": "many"}, "the source 'x'")
        Traceback (most recent call last):
        features.errors.InputError: the setting 'rows' of the source 'x' is int, got 'many'
    """
    hints = get_type_hints(function)
    known = [one for one in inspect.signature(function).parameters if one not in ("root", "dataset")]
    for name, value in settings.items():
        if name not in known:
            raise InputError(f"{what} has no setting {name!r}; it has {', '.join(known) or 'none'}")
        if not _fits(value, hints[name]):
            raise InputError(f"the setting {name!r} of {what} is {_told(hints[name])}, got {value!r}")
        if name == "seed" and not isinstance(value, str) and value < 0:
            raise InputError(f"the setting 'seed' of {what} is 0 or more, got {value}")


def _told(hint: Any) -> str:
    """A type in words.

    Example:
        >>> _told(int | Literal["latest"])
        "int or 'latest'"
    """
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_told(one) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(repr(one) for one in get_args(hint))
    return "empty" if hint is type(None) else getattr(get_origin(hint) or hint, "__name__", str(hint))


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    kind = origin or hint
    if kind is Any:
        return True
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind)
