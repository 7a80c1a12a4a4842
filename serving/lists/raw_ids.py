"""Raw ids of requests to rows and back: exact at any size, and fast for the few that a request names.

JSON and browsers know no 64-bit integers, so ids travel as strings. Where a catalogue's ids are integers, "17" and 17
are the same id and "017" is nobody's; where they are strings, an integer is a mistake and is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from features.errors import InputError
from features.vocabulary import Vocabulary

_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,18}")
#: up to here a dictionary costs little to make and saves half a millisecond a request
_SMALL = 200_000


class FieldError(InputError):
    """An argument or field of a request that cannot be used.

    Args:
        message: One sentence.
        field: Where it is, such as ("histories", 3).
    """

    def __init__(self, message: str, *field: str | int) -> None:
        super().__init__(message)
        self.field = field


def is_id(one: str | int) -> bool:
    """Whether a string or an integer can be an id at all: 64 bits hold it, or it is valid Unicode.

    Example:
        >>> is_id(2**63 - 1), is_id(2**63), is_id(chr(0xD800))
        (True, False, False)
    """
    if isinstance(one, int):
        return -(2**63) <= one < 2**63
    try:
        one.encode()
    except UnicodeEncodeError:
        return False
    return True


class RawIds:
    """The ids of one vocabulary as requests and answers write them.

    Args:
        vocabulary: The known ids.
        aliases: What they may be called besides: columns alias (a string) and the id; and source, where the alias is
            "SOURCE:ID", what a feed calls it.

    Example:
        >>> ids = RawIds(Vocabulary.fit("item_id", pl.Series([2**53 + 1, 17])))
        >>> ids.rows(["17", 17, "017", 9007199254740993, None], "histories").tolist()
        [0, 0, -1, 1, -1]
        >>> ids.strings(np.array([1]))
        ['9007199254740993']
    """

    def __init__(self, vocabulary: Vocabulary, aliases: pl.DataFrame | None = None) -> None:
        self.vocabulary = vocabulary
        self.integers = vocabulary.ids.dtype == pl.Int64
        self._aliases = {} if aliases is None else self._other_names(aliases)
        self._named = None
        if aliases is not None and "source" in aliases.columns:
            self._named = aliases.filter(pl.col("source").is_not_null())
        self._feeds: dict[str, dict[str | int | None, list[str]]] = {}

    def rows(self, ids: Sequence[str | int | None] | pl.Series | np.ndarray, *field: str | int) -> np.ndarray:
        """The row of each id, -1 where it is unknown or None. (n,) int64.

        Args:
            ids: Strings or integers.
            field: What errors call them.

        Raises:
            FieldError: An id of a type that the catalogue's ids are not.
        """
        given: Any = ids
        if isinstance(ids, pl.Series | np.ndarray):
            given = ids.to_list() if isinstance(ids, pl.Series) else ids.tolist()
        if self._aliases:
            given = [one if one is None else self._aliases.get(str(one), one) for one in given]
        wanted = int if self.integers else str
        if not set(map(type, given)) <= {wanted, type(None)}:
            given = [self.canonical(one, n, field) for n, one in enumerate(given)]
        if self._row_of is not None:
            row_of = self._row_of
            return np.fromiter((row_of.get(one, -1) for one in given), dtype=np.int64, count=len(given))
        try:
            return self.vocabulary.rows(given)
        except UnicodeEncodeError as error:  # half of a surrogate pair: no text, so no one's id
            raise FieldError(f"{_name(field)} holds a string that is not valid Unicode", *field) from error

    def _other_names(self, aliases: pl.DataFrame) -> dict[str, str | int]:
        """Each alias with its id; what is an id itself is no alias."""
        named = dict(aliases[:, :2].iter_rows())
        known = self.vocabulary.ids.cast(pl.String)
        for one in known.filter(known.is_in(list(named))).to_list():
            del named[one]
        return named

    def of_feed(self, ids: Sequence[str | int], source: str, *field: str | int) -> list[list[str]]:
        """What a feed calls items that are entities of several feeds.

        Args:
            ids: Items, as `rows` takes them. (n,)
            source: The feed, as `recsys resolve` was told of it.
            field: What errors call it.

        Returns:
            The feed's own ids of each, in order; several where it tells of one thing twice, none where it tells of none
            such. (n lists)

        Raises:
            FieldError: The items are no entities, or of no such feed.
        """
        if self._named is None:
            raise FieldError("the items of this model are no entities of feeds, whose ids it would know", *field)
        if source not in self._feeds:
            of = self._named.filter(pl.col("source") == source)
            if not of.height:
                there = ", ".join(self._named["source"].unique().sort())
                raise FieldError(f"the entity map of this model has no source {source!r}; it has {there}", *field)
            own = of.select(pl.col("item_id"), pl.col("alias").str.slice(len(source) + 1)).sort("item_id", "alias")
            self._feeds[source] = dict(own.group_by("item_id", maintain_order=True).agg("alias").iter_rows())
        known = self._feeds[source]
        items = [self.canonical(self._aliases.get(str(one), one), n, ("ids",)) for n, one in enumerate(ids)]
        return [known.get(one, []) for one in items]

    def ids(self, rows: np.ndarray) -> list[str | int]:
        """The ids of rows, in their own type. (n,)."""
        if self._ids is not None:
            return [self._ids[row] for row in rows.tolist()]
        return self.vocabulary.ids_of(rows).to_list()

    def strings(self, rows: np.ndarray) -> list[str]:
        """The ids of rows, as JSON writes them. (n,)."""
        ids: list[Any] = self.ids(rows)
        return [str(one) for one in ids] if self.integers else ids

    def canonical(self, one: object, place: int | str, field: tuple[str | int, ...]) -> str | int | None:
        """An id in the catalogue's own type; None for a string that no integer is written as.

        Args:
            one: As given.
            place: Where it stands in a list.
            field: What errors call the list.

        Raises:
            FieldError: An id of a type that the catalogue's ids are not.
        """
        if isinstance(one, np.generic):
            one = one.item()
        if one is None or type(one) is (int if self.integers else str):
            return one
        if self.integers and isinstance(one, str):
            return int(one) if _DECIMAL.fullmatch(one) else None
        kind = "integers, or strings of digits" if self.integers else "strings"
        given = f"the integer {str(one)[:30]}" if type(one) is int else f"a {type(one).__name__}"
        raise FieldError(
            f"{_name((*field, place))} is {given}; the ids {self.vocabulary.name!r} are {kind}", *field, place
        )

    @cached_property
    def _ids(self) -> list[str | int] | None:
        return self.vocabulary.ids.to_list() if len(self.vocabulary) <= _SMALL else None

    @cached_property
    def _row_of(self) -> dict[str | int, int] | None:
        return None if self._ids is None else {one: row for row, one in enumerate(self._ids)}

    def warm(self) -> None:
        """Makes what the first request would otherwise wait for."""
        self.rows(self.vocabulary.ids.head(1), "ids")


def as_list(given: Any, *field: str | int) -> list[Any]:
    """An argument that is a list of some kind.

    Raises:
        FieldError: It is none.
    """
    if isinstance(given, list):
        return given
    if isinstance(given, pl.Series):
        return given.to_list()
    if isinstance(given, np.ndarray) and given.ndim == 1:
        return given.tolist()
    if isinstance(given, tuple):
        return list(given)
    raise FieldError(f"{_name(field)} is a {type(given).__name__}, not a list", *field)


def _name(field: Iterable[str | int]) -> str:
    """("histories", 3) as "histories[3]"."""
    first, *rest = field
    return str(first) + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in rest)
