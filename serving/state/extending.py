"""The history that a request goes by: what the bundle has stored of a user, and the events that have come since."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serving.lists.raw_ids import as_list
from serving.state.events import EventStore, StoreError, Trail

if TYPE_CHECKING:  # torch and FAISS take seconds to import
    from serving.bundles.bundle import Bundle
    from serving.candidates import CandidateGenerator
    from serving.lists.shelf import Shelf


class Extended(NamedTuple):
    """What `CandidateGenerator.recommend` is to be given, of B users.

    Args:
        histories: As given, and where none was given, what is stored with the events after it. (B,)
        history_times: Of those, for models that read times. (B,)
        seen: Items of all their events, which are not recommended to them again. (B lists)
        away: Why the store did not answer, so that nothing is extended; None where it did.
    """

    histories: Sequence[Any] | None
    history_times: Sequence[Any] | None
    seen: list[list[str]] | None = None
    away: str | None = None


def extended(
    generator: CandidateGenerator,
    store: EventStore | None,
    user_ids: Sequence[str | int | None] | None,
    histories: Sequence[Sequence[str | int] | None] | None = None,
    history_times: Sequence[Sequence[int] | None] | None = None,
    types: Collection[str | None] | None = None,
) -> Extended:
    """Extends the histories of a request by what its users have done since the bundle was built.

    A history that came with the request stays as it is; the user's events count as seen even so. As everywhere, one
    without any known item is as if it had not been given.

    An event is in the stored history already if that ends later, or ends when the event was and holds its item: a
    bundle that was built of data with the event says until when it knows the user. Where it does not (bundles of
    before), the data's cut-off stands for that; where the bundle has no history of the user, all events are new.
    Events whose items the catalogue lacks are left out, those of new items (`new_items`) are seen. Of a user with very
    many events, the latest `serving.state.events.READ` count.

    Nothing that is wrong with a request is found out here: `recommend` says what it is.

    Args:
        generator: Who is asked.
        store: Where events are; None for nowhere.
        user_ids: As given. (B,)
        histories: As given. (B,)
        history_times: As given. (B,)
        types: Only events of these types; None among them stands for events that tell none. All, where not given.
    """
    unchanged = Extended(histories, history_times)
    if store is None or user_ids is None:
        return unchanged
    ids = as_list(user_ids, "user_ids")
    given = [None] * len(ids) if histories is None else as_list(histories, "histories")
    times = [None] * len(ids) if history_times is None else list(as_list(history_times, "history_times"))
    if not len(ids) == len(given) == len(times) or (histories is None and history_times is not None):
        return unchanged
    asked = list(dict.fromkeys(str(one) for one in ids if one is not None))
    try:
        found = dict(zip(asked, store.trails(asked, types), strict=True)) if asked else {}
    except StoreError as error:
        return unchanged._replace(away=str(error))
    if not any(one.item_ids for one in found.values()):
        return unchanged
    shelf, bundle = generator.new_items.shelf, generator.bundle
    users = generator.user_ids.rows(ids, "user_ids")
    rows = dict(zip(found, _rows_of(shelf, list(found.values())), strict=True))
    out = [None if one is None else as_list(one, "histories", n) for n, one in enumerate(given)]
    seen: list[list[str]] = [[] for _ in ids]
    for n, one in enumerate(ids):
        if one is None or not (trail := found[str(one)]).item_ids:
            continue
        mine = rows[str(one)]
        seen[n] = list(compress(trail.item_ids, (mine >= 0).tolist()))
        told = out[n]
        if times[n] is not None or (told and (generator.item_ids.rows(told, "histories", n) >= 0).any()):
            continue
        made = _after(bundle, users[n : n + 1], trail, np.where(mine < len(bundle.items), mine, -1))
        if made is not None:
            stored, new, came = made
            unknown = told or []  # which are counted
            out[n] = [*unknown, *generator.item_ids.ids(stored), *new]
            times[n] = [*came[:1] * len(unknown), *came]
    if not any(times):  # nothing came that is new
        return unchanged._replace(seen=seen)
    return Extended(out, times if bundle.known.timed else history_times, seen)


def _rows_of(shelf: Shelf, trails: list[Trail]) -> list[np.ndarray]:
    """The item rows of each user's events, -1 for unknown ones."""
    flat = shelf.rows([one for mine in trails for one in mine.item_ids], "item_id")
    return np.split(flat, np.cumsum([len(mine.item_ids) for mine in trails])[:-1])


def _after(
    bundle: Bundle, user: np.ndarray, trail: Trail, rows: np.ndarray
) -> tuple[np.ndarray, list[str], list[int]] | None:
    """A user's stored item rows, the items of events that come after them, and the times of both.

    Args:
        bundle: Which has stored them.
        user: The user's row, -1 for a stranger. (1,)
        trail: The user's events. (E)
        rows: Their items in the catalogue; -1 for those that it lacks. (E,)

    Returns:
        None where none come after.
    """
    stored = bundle.known.histories(user)
    items, came = stored.values, stored.times
    until = None if came is None or not len(came) else int(came[-1])
    if until is None and len(items):
        until = bundle.known.until(user)[0]
        until = bundle.manifest.data.get("cutoff") if until is None else until
    new = rows >= 0
    if until is not None:
        # of an event at the very end, only the stored items of that time say whether it is among them
        last = items if came is None else items[came == until]
        new &= (trail.times > until) | ((trail.times == until) & ~np.isin(rows, last))
    if not new.any():
        return None
    times = [0] * len(items) if came is None else came.tolist()
    return items, list(compress(trail.item_ids, new.tolist())), [*times, *trail.times[new].tolist()]
