"""How a service is run: its limits, what it lets happen, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from features.errors import InputError


@dataclass(frozen=True)
class ServiceConfig:
    """All that a service depends on besides what it serves.

    Args:
        threads: How many requests are computed at a time in a process; 0 takes the number of processors.
        most_waiting: Users of requests that may wait in a process; who comes then is told to come again (429).
        most_seconds: How long a request may wait to be computed; then it is told so (503).
        token: What a request that changes something must bring as its bearer token; without one nothing can be changed.
        made_token: Whether it was made for this run, so that whoever started it has to be told.
        cors: Origins whose pages may ask; none where there are none.
        ui: Whether there is a page to look at, at /ui; it shows histories to whoever asks.
        log_requests: Whether each request is a line of the log.
        drain_seconds: For how long after SIGTERM requests are still taken, while /readyz says that this ends.
        poll_seconds: How often the registry is asked whether another version is to be served; 0 for never.
        least_recall: What an approximate index must find of an exact one's, or its version is not swapped in.
        events: Where users' events are kept, a file or the address of a Redis; "" for the model's own place, None for
            nowhere.
        keep_events: How many events of a user are kept, the latest ones; `serving.state.events.KEPT` where not given.
        impressions: A folder where answers are noted; not noted without.
        shadow: Another model that is asked some of the requests too, for nobody to see.
        shadow_share: Which share of them.
        new_items: Takes items that have come since the model was built, and keeps them in this file; none without.

    Raises:
        InputError: A number that cannot be.
    """

    threads: int = 0
    most_waiting: int = 4096
    most_seconds: float = 10.0
    token: str | None = field(default=None, repr=False)
    made_token: bool = False
    cors: tuple[str, ...] = ()
    ui: bool = False
    log_requests: bool = False
    drain_seconds: float = 0.0
    poll_seconds: float = 5.0
    least_recall: float = 0.9
    events: str | None = None
    keep_events: int | None = None
    impressions: Path | None = None
    shadow: str | None = None
    shadow_share: float = 0.1
    new_items: Path | None = None

    def __post_init__(self) -> None:
        for name in ("threads", "drain_seconds", "poll_seconds", "least_recall"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} is 0 or more, got {getattr(self, name)}")
        for name in ("most_waiting", "most_seconds", "keep_events"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is above 0, got {getattr(self, name)}")
        if self.token is not None and (len(self.token) < 16 or not self.token.isascii() or " " in self.token):
            raise InputError("the token is at least 16 characters of ASCII without a space")
