"""Events in Redis: for services on several machines, which share what their users did."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time as clock
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from features.errors import InputError
from serving.state.events import KEPT, READ, Event, Health, StoreError, Trail
from serving.state.redis_scripts import APPEND, ERASE
from serving.state.resting import Resting, Turnstile

#: users whose events are fetched at a time
_USERS = 200
#: for how many seconds a request for candidates waits for the events of its users; it can do without them
_LOOKING = 0.5
_OFFSET = 2**63  # times as numbers without a sign, so that their digits sort as they do

_Found = TypeVar("_Found")


class RedisEvents:
    """An `EventStore` in Redis.

    How durable an acknowledged event is, is the server's to say, and `health().notice` repeats it. With `appendonly
    yes` and `appendfsync always`, Redis answers after the event is on its disk: as safe as SQLite's file. With
    `appendfsync everysec`, Redis' own choice, an answered event survives kill -9 of Redis, because it was written, but
    a power cut loses up to two seconds of them. Without an append-only file they are lost with the process. Replicas
    are a second copy, not a stronger promise: they follow a little later, and one that is made master in between lacks
    what was answered last. With `replicas=1`, an answer waits until a replica has received the events (WAIT), which
    makes that loss unlikely, and not impossible.

    A server that goes away is an error until it is back, and none afterwards: connections are made anew. An append that
    is tried twice because the answer was lost is kept once. While it is away, one caller at a time finds out whether it
    is back, and all others are refused at once, so that a server that takes connections and says nothing holds no more
    than one thread. Looking for events rests in between, longer with each time.

    Args:
        url: redis://, rediss:// (encrypted) or unix://, with user, password and number of the database.
        keep: How many events of a user are kept, the latest ones.
        replicas: How many replicas have received events before they are acknowledged.
        prefix: What the names of its keys begin with.
        patience: For how many seconds an answer is waited for; half a second at most where events are looked for.

    Raises:
        InputError: No such address. A server that does not answer yet is no error.
    """

    def __init__(
        self, url: str, keep: int = KEPT, replicas: int = 0, prefix: str = "recsys:events:", patience: float = 2.0
    ) -> None:
        try:
            import redis
            from redis.backoff import ConstantBackoff
            from redis.retry import Retry
        except ImportError:
            raise InputError("events in Redis need the package redis: pip install '.[redis]'") from None

        def client(seconds: float, again_after: tuple[type[Exception], ...]) -> redis.Redis:
            return redis.Redis.from_url(
                url,
                socket_timeout=seconds,
                socket_connect_timeout=min(seconds, 1.0),
                # once more: a server that was started anew has closed the connections that wait in the pool
                retry=Retry(ConstantBackoff(0), 1, supported_errors=again_after),
                decode_responses=True,
            )

        try:
            self._redis = client(patience, (redis.ConnectionError, redis.TimeoutError))
            # who has waited in vain for one answer does not wait for another one
            self._looking = client(min(patience, _LOOKING), (redis.ConnectionError,))
        except (ValueError, TypeError) as error:
            raise InputError(f"the address of Redis cannot be used: {error}") from None
        self._errors, self._away = redis.RedisError, (redis.ConnectionError, redis.TimeoutError)
        self._keep, self._replicas, self._prefix, self._patience = keep, replicas, prefix, patience
        parts = urlsplit(url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._turnstile = Turnstile()
        self._lock, self._latest, self._trimmed = threading.Lock(), 0, 0
        self.after_trim: Callable[[int], None] = lambda many: None

    def append(self, events: Sequence[Event]) -> int:
        """Keeps events; see `EventStore.append`."""
        by_user: defaultdict[str, list[Any]] = defaultdict(list)
        with self._lock:
            for event in events:
                by_user[event.user_id] += self._packed(event)
        if not by_user:
            return 0

        def kept() -> list[Any]:
            # all of a post or nothing; but inside a transaction WAIT does not wait, and it asks of its own connection
            with self._redis.pipeline(transaction=not self._replicas) as pipe:
                for user, packed in by_user.items():
                    pipe.eval(APPEND, 1, self._prefix + user, self._keep, *packed)
                if self._replicas:
                    pipe.wait(self._replicas, int(self._patience * 500))
                return pipe.execute()

        answers = self._asked(kept)
        if self._replicas and (reached := answers.pop()) < self._replicas:
            raise StoreError(
                f"{reached} replicas of {self.where} have received the events, and {self._replicas} should; "
                "they are not acknowledged"
            )
        if trimmed := sum(gone for _, gone in answers):
            with self._lock:
                self._trimmed += trimmed
            self.after_trim(trimmed)
        return sum(new for new, _ in answers)

    def since(self, user_ids: Sequence[str | int], time: int | None = None) -> list[list[Event]]:
        """The events of each user; see `EventStore.since`."""
        found = self._read(user_ids, lambda user, packed: self._unpacked(user, packed, time))
        return list(found)

    def trails(self, user_ids: Sequence[str | int], types: Collection[str | None] | None = None) -> list[Trail]:
        """What each user did last; see `EventStore.trails`."""
        one_of: dict[str, str] = {}  # a thousand users hold one text of an item, and not a thousand

        def trail(user: str, packed: list[str]) -> Trail:
            latest = [(one[:20], json.loads(one[40:])) for one in sorted(packed)[-min(READ, self._keep) :]]
            if types is not None:
                latest = [one for one in latest if one[1][1] in types]
            times = np.fromiter((int(when) - _OFFSET for when, _ in latest), np.int64, len(latest))
            return Trail([one_of.setdefault(said[0], said[0]) for _, said in latest], times)

        return list(self._read(user_ids, trail))

    def _read(self, user_ids: Sequence[str | int], made: Callable[[str, list[str]], _Found]) -> Iterator[_Found]:
        """What is made of each user's events, which come in no order; fetched for some users at a time."""
        users = list(map(str, user_ids))
        for start in range(0, len(users), _USERS):
            some = users[start : start + _USERS]

            def fetched(some: list[str] = some) -> list[list[str]]:
                with self._looking.pipeline(transaction=False) as pipe:
                    for user in some:
                        pipe.hvals(self._prefix + user)
                    return pipe.execute()

            packed = self._asked(fetched, insist=False)
            yield from map(made, some, packed)

    def everything(self) -> Iterator[Event]:
        """All events; see `EventStore.everything`. What comes while it is read may be missing."""
        plain = re.sub(r"([\\*?\[\]])", r"\\\1", self._prefix)
        keys = self._asked(lambda: list(self._redis.scan_iter(f"{plain}*", count=1_000)))
        for key in sorted(set(keys)):
            yield from self.since([key.removeprefix(self._prefix)])[0]

    def erase(self, user_ids: Sequence[str | int]) -> int:
        """Forgets users. Redis' append-only file holds what they did until it is written anew (BGREWRITEAOF)."""
        keys = [self._prefix + one for one in dict.fromkeys(map(str, user_ids))]

        def erased() -> int:
            with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.eval(ERASE, 1, key)
                return sum(min(one, self._keep) for one in pipe.execute())

        return self._asked(erased)

    def health(self) -> Health:
        """Asks it something; see `EventStore.health`."""
        try:
            # redis's types are those of its asynchronous client, too
            facts: Any = self._asked(lambda: (self._redis.info("persistence"), self._redis.info("memory")))
        except StoreError as error:
            return Health(self.where, problem=str(error), trimmed=self._trimmed)
        return Health(self.where, notice=self._notice(*facts), trimmed=self._trimmed)

    def close(self) -> None:
        """Ends its connections."""
        self._redis.close()
        self._looking.close()

    def _notice(self, persistence: dict[str, Any], memory: dict[str, Any]) -> str | None:
        """What the server does not promise."""
        evicts = memory.get("maxmemory") and memory.get("maxmemory_policy", "noeviction") != "noeviction"
        if evicts:
            policy = memory["maxmemory_policy"]
            return f"{self.where} forgets users when its memory is full (maxmemory-policy {policy}, not noeviction)"
        if not persistence.get("aof_enabled"):
            return f"{self.where} has no append-only file: acknowledged events are lost when it ends (appendonly yes)"
        try:
            settings: Any = self._redis.config_get("appendfsync")
            when = settings.get("appendfsync")
        except self._errors:  # a server that does not let itself be asked
            return f"{self.where} does not say how often it writes to its disk (appendfsync)"
        if when != "always":
            return f"{self.where} loses up to two seconds of events in a power cut (appendfsync {when}, not always)"
        return None

    def _asked(self, ask: Callable[[], _Found], insist: bool = True) -> _Found:
        try:
            with self._turnstile.through(*self._away, insist=insist):
                return ask()
        except Resting:
            raise StoreError(f"{self.where} does not answer") from None
        except self._away as error:
            raise StoreError(f"{self.where} does not answer: {_one_line(error)}") from None
        except self._errors as error:
            raise StoreError(f"{self.where} refuses: {_one_line(error)}") from None

    def _packed(self, event: Event) -> tuple[str, str]:
        """What an event is called, and what is kept of it. Made once, so that a second try is the same event."""
        self._latest = came = max(self._latest + 1, clock.time_ns())
        name = f"a{came:x}-{secrets.token_hex(8)}" if event.event_id is None else f"i{event.event_id}"
        said = json.dumps([event.item_id, event.type, event.event_id], ensure_ascii=False, separators=(",", ":"))
        return name, f"{event.timestamp + _OFFSET:020d}{came:020d}{said}"

    def _unpacked(self, user: str, packed: list[str], time: int | None) -> list[Event]:
        events = []
        for one in sorted(packed)[-self._keep :]:
            when = int(one[:20]) - _OFFSET
            if time is None or when >= time:
                item, kind, event_id = json.loads(one[40:])
                events.append(Event.kept(user, item, when, kind, event_id))
        return events


def _one_line(error: Exception) -> str:
    """What Redis says, without the command that it says it of."""
    return " ".join(str(error).rpartition(" caused error: ")[2].split())[:300]
