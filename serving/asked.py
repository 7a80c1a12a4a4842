"""What was asked, in rows: users, histories with unknown items dropped, what has been seen, attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from features.batches import JaggedArray
from features.schema import Categorical, MultiValued, Numeric
from serving.bundle import Bundle
from serving.raw_ids import FieldError, RawIds


@dataclass(frozen=True)
class Asked:
    """B users of a request.

    Args:
        user_ids: As given. (B,)
        rows: User rows, -1 for unknown. (B,)
        trained: Whether training has seen the user. (B,)
        histories: Item rows that each user is ranked by, oldest first. (B rows)
        seen: Item rows that each user knows. (B rows)
        given: Whether that history came with the request; else it is the bundle's. (B,)
        unknown: How many given history items are unknown. (B,)
    """

    user_ids: list[str | int | None]
    rows: np.ndarray
    trained: np.ndarray
    histories: JaggedArray
    seen: JaggedArray
    given: np.ndarray
    unknown: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> Asked:
        """Some of the users."""
        if start == 0 and stop >= len(self):
            return self
        users = slice(start, stop)
        return Asked(
            self.user_ids[users],
            self.rows[users],
            self.trained[users],
            _slice(self.histories, start, stop),
            _slice(self.seen, start, stop),
            self.given[users],
            self.unknown[users],
        )


def read_asked(
    bundle: Bundle,
    users: RawIds,
    items: RawIds,
    user_ids: Sequence[str | int | None] | pl.Series | np.ndarray | None,
    histories: Sequence[Sequence[str | int] | None] | None,
) -> Asked:
    """Checks ids and histories, and finds their rows.

    Args:
        bundle: Which knows users.
        users: Its user ids.
        items: Its item ids.
        user_ids: As given. (B,)
        histories: As given. (B,)

    Raises:
        FieldError: Neither is given, they are not equally many, or an id is of the wrong type.
    """
    if user_ids is None and histories is None:
        raise FieldError("give user_ids, histories or both", "user_ids")
    ids = as_list(user_ids, "user_ids") if user_ids is not None else [None] * len(as_list(histories, "histories"))
    given = as_list(histories, "histories") if histories is not None else [None] * len(ids)
    if len(given) != len(ids):
        raise FieldError(f"there are {len(ids)} user_ids and {len(given)} histories", "histories")
    rows = users.rows(ids, "user_ids")
    trained = np.where(rows >= 0, bundle.known.trained[np.maximum(rows, 0)] if len(bundle.users) else False, False)
    stored = bundle.known.histories(rows)
    if all(one is None for one in given):
        return Asked(ids, rows, trained, stored, stored, np.zeros(len(ids), bool), np.zeros(len(ids), np.int64))
    recent, unknown = _known_items(items, given)
    is_given = recent.lengths > 0
    owner = [np.repeat(np.arange(len(ids)), one.lengths) for one in (stored, recent)]
    used = np.concatenate([~is_given[owner[0]], is_given[owner[1]]])
    owners, values = np.concatenate(owner), np.concatenate([stored.values, recent.values])
    ranked_by = JaggedArray.from_pairs(owners[used], values[used], len(ids))
    seen = JaggedArray.from_pairs(owners, values, len(ids))
    return Asked(ids, rows, trained, ranked_by, seen, is_given, unknown)


def _known_items(items: RawIds, histories: list[Any]) -> tuple[JaggedArray, np.ndarray]:
    """The rows of given histories without unknown items, and how many of these each had."""
    lists = [[] if one is None else as_list(one, "histories", n) for n, one in enumerate(histories)]
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    try:
        rows = items.rows(list(chain.from_iterable(lists)), "histories")
    except FieldError as error:  # say whose history it is
        place = error.field[-1] if isinstance(error.field[-1], int) else 0
        user = int(np.searchsorted(np.cumsum(lengths), place, side="right"))
        items.rows(lists[user], "histories", user)
        raise
    owner = np.repeat(np.arange(len(lists)), lengths)
    known = rows >= 0
    return (
        JaggedArray.from_pairs(owner[known], rows[known], len(lists)),
        np.bincount(owner[~known], minlength=len(lists)),
    )


def attribute_frame(
    bundle: Bundle, attributes: pl.DataFrame | Sequence[dict[str, Any] | None] | None, n: int
) -> tuple[pl.DataFrame | None, np.ndarray]:
    """Given attributes as a frame of n rows, and which users have any.

    Raises:
        FieldError: An attribute that is not declared, or of a type that its column cannot be.
    """
    if attributes is None:
        return None, np.zeros(n, dtype=bool)
    declared = {
        feature.column for feature in bundle.schema.user if isinstance(feature, Categorical | MultiValued | Numeric)
    }
    if isinstance(attributes, pl.DataFrame):
        attributes = attributes.to_dicts()
    attributes = as_list(attributes, "attributes")
    if len(attributes) != n:
        raise FieldError(f"there are {n} users and {len(attributes)} rows of attributes", "attributes")
    names: dict[str, None] = {}
    for place, one in enumerate(attributes):
        if one is not None and not isinstance(one, dict):
            raise FieldError(
                f"attributes[{place}] is a {type(one).__name__}, not names and values", "attributes", place
            )
        names.update(dict.fromkeys(one or ()))
    for name in names:
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise FieldError(f"attributes has {str(name)[:60]!r}; the declared ones are: {known}", "attributes")
    columns = [_column(bundle, name, [(one or {}).get(name) for one in attributes]) for name in names]
    frame = pl.DataFrame([pl.Series("", np.zeros(n, np.int8)), *columns])
    return frame, np.array([one is not None for one in attributes], dtype=bool)


def _column(bundle: Bundle, name: str, values: list[Any]) -> pl.Series:
    try:
        column = pl.Series(name, values, strict=True)
        # what cannot be encoded is told now, while it is known which attribute it is
        bundle.known.encoder.encode(column.to_frame())
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FieldError(f"attributes.{name} cannot be used: {reason}", "attributes", name) from error
    return column


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
    name = str(field[0]) + "".join(f"[{one}]" for one in field[1:])
    raise FieldError(f"{name} is a {type(given).__name__}, not a list", *field)


def _slice(jagged: JaggedArray, start: int, stop: int) -> JaggedArray:
    offsets = jagged.offsets[start : stop + 1]
    return JaggedArray(jagged.values[offsets[0] : offsets[-1]], offsets - offsets[0])
