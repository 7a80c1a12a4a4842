"""What was asked, in rows: users, histories with unknown items dropped, what has been seen, attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from features.batches import JaggedArray
from features.schema import Categorical, MultiValued, Numeric
from serving.bundles.bundle import Bundle
from serving.lists.given_times import asking_times, history_times
from serving.lists.raw_ids import FieldError, RawIds, as_list
from serving.lists.shelf import Shelf


@dataclass(frozen=True)
class Asked:
    """B users of a request.

    Args:
        user_ids: As given. (B,)
        rows: User rows, -1 for unknown. (B,)
        trained: Whether training has seen the user. (B,)
        histories: Item rows that each user is ranked by, oldest first; with times, if the model reads them. (B rows)
        seen: Item rows that each user knows, those of new items among them. (B rows)
        given: Whether that history came with the request; else it is the bundle's. (B,)
        unknown: How many given history items are unknown. (B,)
        timed: Whether the times of the history are told. (B,)
        asked_at: When each user asks, if the model reads times. (B,)
    """

    user_ids: list[str | int | None]
    rows: np.ndarray
    trained: np.ndarray
    histories: JaggedArray
    seen: JaggedArray
    given: np.ndarray
    unknown: np.ndarray
    timed: np.ndarray
    asked_at: np.ndarray

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
            self.timed[users],
            self.asked_at[users],
        )


def read_asked(
    bundle: Bundle,
    users: RawIds,
    shelf: Shelf,
    user_ids: Sequence[str | int | None] | pl.Series | np.ndarray | None,
    histories: Sequence[Sequence[str | int] | None] | None,
    times: Sequence[Sequence[int] | None] | None = None,
    asked_at: Sequence[int | None] | None = None,
) -> Asked:
    """Checks ids and histories, and finds their rows.

    Args:
        bundle: Which knows users.
        users: Its user ids.
        shelf: Its item ids, and those of new items, which histories may hold though no model reads them.
        user_ids: As given. (B,)
        histories: As given. (B,)
        times: Of the histories' items, as given. (B,)
        asked_at: As given. (B,)

    Raises:
        FieldError: Neither ids nor histories are given, they are not equally many, an id is of the wrong type, or times
            are given that the model does not read, or that belong to no history.
    """
    if user_ids is None and histories is None:
        raise FieldError("give user_ids, histories or both", "user_ids")
    ids = as_list(user_ids, "user_ids") if user_ids is not None else [None] * len(as_list(histories, "histories"))
    given = as_list(histories, "histories") if histories is not None else [None] * len(ids)
    if len(given) != len(ids):
        raise FieldError(f"there are {len(ids)} user_ids and {len(given)} histories", "histories")
    rows = users.rows(ids, "user_ids")
    trained = np.where(rows >= 0, bundle.known.trained[np.maximum(rows, 0)] if len(bundle.users) else False, False)
    if times is not None and histories is None:
        raise FieldError("history_times are those of histories, and no histories are given", "history_times")
    for field, one, read in (
        ("history_times", times, bundle.known.timed),
        ("asked_at", asked_at, bundle.reads_asking_time),
    ):
        if one is not None and not read:
            what = "when it is asked" if bundle.known.timed else "times"
            raise FieldError(f"this model does not read {what}, so {field} would change nothing", field)
    stored = bundle.known.histories(rows)
    nothing = np.zeros(len(ids), np.int64)
    if times is None and all(one is None for one in given):
        at = asking_times(asked_at, stored, stored.lengths > 0) if bundle.known.timed else nothing
        return Asked(ids, rows, trained, stored, stored, nothing > 0, nothing, stored.lengths > 0, at)
    lists = [[] if one is None else as_list(one, "histories", n) for n, one in enumerate(given)]
    flat, owner = _item_rows(shelf, lists), np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    is_known, is_new = (flat >= 0) & (flat < len(bundle.items)), flat >= len(bundle.items)
    recent = owner[is_known], flat[is_known]
    is_given = np.bincount(recent[0], minlength=len(ids)) > 0
    own = np.repeat(np.arange(len(ids)), stored.lengths)
    owners, values = np.concatenate([own, recent[0]]), np.concatenate([stored.values, recent[1]])
    used = np.concatenate([~is_given[own], is_given[recent[0]]])
    chosen = JaggedArray.from_pairs(owners[used], np.flatnonzero(used), len(ids))
    ranked_by, timed, at = JaggedArray(values[chosen.values], chosen.offsets), nothing > 0, nothing
    if bundle.known.timed:
        came, told = history_times([None] * len(lists) if times is None else times, lists)
        came = np.concatenate([stored.times, came[is_known]])
        ranked_by = JaggedArray(ranked_by.values, ranked_by.offsets, came[chosen.values])
        timed = ~is_given | told
        at = asking_times(asked_at, ranked_by, timed)
    seen = JaggedArray.from_pairs(
        np.concatenate([owners, owner[is_new]]), np.concatenate([values, flat[is_new]]), len(ids)
    )
    unknown = np.bincount(owner[~is_known], minlength=len(ids))
    return Asked(ids, rows, trained, ranked_by, seen, is_given, unknown, timed, at)


def with_seen(asked: Asked, shelf: Shelf, seen: Sequence[Sequence[str | int]]) -> Asked:
    """The same users, who know some items besides.

    Args:
        asked: The users.
        shelf: Items that can be recommended.
        seen: Raw item ids; unknown ones are nobody's. (B lists)

    Raises:
        FieldError: Not as many lists as users, or an id of the wrong type.
    """
    lists = [as_list(one, "seen", n) for n, one in enumerate(as_list(seen, "seen"))]
    if len(lists) != len(asked):
        raise FieldError(f"there are {len(asked)} users and {len(lists)} lists of seen items", "seen")
    rows = shelf.rows(list(chain.from_iterable(lists)), "seen")
    owner, known = np.repeat(np.arange(len(lists)), [len(one) for one in lists]), rows >= 0
    owners = np.concatenate([np.repeat(np.arange(len(asked)), asked.seen.lengths), owner[known]])
    values = np.concatenate([asked.seen.values, rows[known]])
    return dataclasses.replace(asked, seen=JaggedArray.from_pairs(owners, values, len(asked)))


def _item_rows(shelf: Shelf, histories: list[list[Any]]) -> np.ndarray:
    """The rows of all items of given histories, end to end, -1 for unknown ones. (sum of L,)"""
    try:
        return shelf.rows(list(chain.from_iterable(histories)), "histories")
    except FieldError as error:  # say whose history it is
        place = error.field[-1] if isinstance(error.field[-1], int) else 0
        user = int(np.searchsorted(np.cumsum([len(one) for one in histories]), place, side="right"))
        shelf.rows(histories[user], "histories", user)
        raise


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


def _slice(jagged: JaggedArray, start: int, stop: int) -> JaggedArray:
    offsets = jagged.offsets[start : stop + 1]
    values = slice(offsets[0], offsets[-1])
    times = None if jagged.times is None else jagged.times[values]
    return JaggedArray(jagged.values[values], offsets - offsets[0], times)
