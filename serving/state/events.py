"""Events that have come since a model was built: what one is, and what every store of them promises."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from features.errors import InputError
from serving.lists.raw_ids import is_id

#: how many events of a user are kept, where nothing else is said
KEPT = 1_000
#: how many of a user's events an answer goes by, the latest ones, however many are kept: no request reads more
READ = 1_000


class StoreError(InputError):
    """A store that cannot be reached, or that cannot keep what it is given: the fault of no request."""


@dataclass(frozen=True)
class Event:
    """A user did something with an item.

    Ids are kept as text, so that 17 and "17" are one id; a catalogue whose ids are strings refuses integers before they
    come here.

    Args:
        user_id: Raw id.
        item_id: Raw id; the catalogue need not have it, or not yet.
        timestamp: When, in the unit of the training data.
        type: What was done, such as "view".
        event_id: Of whoever posts it: an event of the same user with an id that is kept already is not kept again.

    Raises:
        InputError: An id or a time that is none.

    Example:
        >>> Event(17, "tea", 1_700_000_000)
        Event(user_id='17', item_id='tea', timestamp=1700000000, type=None, event_id=None)
    """

    user_id: str
    item_id: str
    timestamp: int
    type: str | None = None
    event_id: str | None = None

    def __post_init__(self) -> None:
        for name in ("user_id", "item_id", "type", "event_id"):
            value = getattr(self, name)
            if value is None and name in ("type", "event_id"):
                continue
            if isinstance(value, bool) or not isinstance(value, str | int) or not is_id(str(value)):
                raise InputError(f"{name} of an event is a string or an integer, got {str(value)[:60]!r}")
            object.__setattr__(self, name, str(value))
        if type(self.timestamp) is not int or not is_id(self.timestamp):
            raise InputError(f"timestamp of an event is a whole number of 64 bits, got {str(self.timestamp)[:30]!r}")

    @classmethod
    def kept(cls, user_id: str, item_id: str, timestamp: int, type: str | None, event_id: str | None) -> Event:
        """One that a store has kept, so that there is nothing to check: a request may read a thousand of them."""
        event = object.__new__(cls)
        told = {"user_id": user_id, "item_id": item_id, "timestamp": timestamp, "type": type, "event_id": event_id}
        event.__dict__.update(told)
        return event


class Trail(NamedTuple):
    """What a user did last, oldest first, without what no answer goes by: a request may ask for those of a thousand.

    Args:
        item_ids: Raw ids. (E,)
        times: When. (E,) int64
    """

    item_ids: list[str]
    times: np.ndarray


@dataclass(frozen=True)
class Health:
    """How a store is.

    Args:
        where: The store, without passwords.
        problem: Why it does not answer; None where it does.
        notice: What an operator should know though it answers; None for nothing.
        trimmed: Acknowledged events that this process' appends have discarded, because their users had later ones.
    """

    where: str
    problem: str | None = None
    notice: str | None = None
    trimmed: int = 0

    @property
    def works(self) -> bool:
        """Whether it answers."""
        return self.problem is None


class EventStore(Protocol):
    """Keeps the latest events of each user. Safe to share between threads, and several processes may use one.

    A store belongs to the process that made it: workers that are forked make their own.
    """

    #: told how many acknowledged events an append has discarded, because their users had more and later ones
    after_trim: Callable[[int], None]

    def append(self, events: Sequence[Event]) -> int:
        """Keeps events, all of them or none; they are durable when it returns.

        Returns:
            How many are new; the others were there already, by their event ids.

        Raises:
            StoreError: They are not acknowledged. They may be kept nevertheless where the store went away before it
                answered; posted again with the same event ids, they are kept once.
        """

    def since(self, user_ids: Sequence[str | int], time: int | None = None) -> list[list[Event]]:
        """The events of each user, oldest first, those of one time in the order they came. (B,) -> B lists

        Args:
            user_ids: Raw ids.
            time: Only those at this time or later; all where not given.

        Raises:
            StoreError: The store is away.
        """

    def trails(self, user_ids: Sequence[str | int], types: Collection[str | None] | None = None) -> list[Trail]:
        """The latest `READ` events of each user, in the order of `since`. (B,) -> B

        Args:
            user_ids: Raw ids.
            types: Of those only the ones of these types; None among them stands for events that tell none. All, where
                not given.

        Raises:
            StoreError: The store is away.
        """

    def everything(self) -> Iterator[Event]:
        """All events, user by user, each user's as `since` gives them: for the next build's interactions.

        Raises:
            StoreError: The store is away.
        """

    def erase(self, user_ids: Sequence[str | int]) -> int:
        """Forgets all events of some users; they are gone for good when it returns.

        Returns:
            How many events there were.

        Raises:
            StoreError: The store is away.
        """

    def health(self) -> Health:
        """Asks it something; never raises."""

    def close(self) -> None:
        """Ends its connections."""


def frame_of(events: Iterable[Event]) -> pl.DataFrame:
    """Events as a table of interactions: user_id, item_id, timestamp, type and event_id.

    Example:
        >>> frame_of([Event("ann", "tea", 3)]).drop("type", "event_id").rows()
        [('ann', 'tea', 3)]
    """
    text = pl.String
    schema = {"user_id": text, "item_id": text, "timestamp": pl.Int64, "type": text, "event_id": text}
    rows = [(one.user_id, one.item_id, one.timestamp, one.type, one.event_id) for one in events]
    return pl.DataFrame(rows, schema=schema, orient="row")
