"""From what clients post to events: ids of the right type, and times of the right unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from features.time_units import UNITS
from serving.lists.raw_ids import FieldError
from serving.state.asking_time import now_of, unit_of_bundle
from serving.state.events import Event

if TYPE_CHECKING:
    from serving.candidates import CandidateGenerator

#: clocks of other machines run ahead; by more than this they do not
_AHEAD_SECONDS = 86_400


class Posted(Protocol):
    """What a client says of an event."""

    user_id: str | int
    item_id: str | int
    timestamp: int | None
    type: str | None
    event_id: str | None


def read_posted(generator: CandidateGenerator, posted: Sequence[Posted]) -> tuple[list[Event], int]:
    """Events of a request, and how many of their items nobody knows.

    Users and items that the model does not know are no errors: both may be new.

    Args:
        generator: Whose ids and times they are.
        posted: As given; without a time, it is now.

    Raises:
        FieldError: An id of a type that the catalogue's ids are not, or a time that has not come.
    """
    now, unit = now_of(generator.bundle), unit_of_bundle(generator.bundle)
    most = 2**63 - 1 if unit is None else now + _AHEAD_SECONDS * UNITS[unit]
    events = []
    for n, one in enumerate(posted):
        for name, ids in (("user_id", generator.user_ids), ("item_id", generator.item_ids)):
            ids.canonical(getattr(one, name), name, ("events", n))
        when = now if one.timestamp is None else one.timestamp
        if when > most:
            message = f"events[{n}].timestamp is {when}, which has not come; the training data counts in {unit}"
            raise FieldError(message, "events", n, "timestamp")
        events.append(Event(str(one.user_id), str(one.item_id), when, one.type, one.event_id))
    rows = generator.new_items.shelf.rows([one.item_id for one in events], "events")
    return events, int((rows < 0).sum())
