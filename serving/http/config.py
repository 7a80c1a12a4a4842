"""How a service is run: its limits, what it lets happen, and what it tells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from features.errors import InputError

#: as browsers write one: in lower case, and with nothing after the port
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]A-Z]+)(:[0-9]{1,5})?")


class SettingError(InputError):
    """A setting that cannot be.

    Args:
        setting: Its name here; whoever calls it otherwise, such as a command line, says so.
        problem: The rest of the sentence.
    """

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting} {problem}")
        self.setting, self.problem = setting, problem


@dataclass(frozen=True)
class ServiceConfig:
    """All that a service depends on besides what it serves.

    Args:
        threads: How many requests are computed at a time in a process; 0 takes the number of processors.
        most_waiting: Users of requests that may wait in a process; who comes then is told to come again (429).
        most_seconds: How long a request may wait to be computed; then it is told so (503).
        token: What a request that changes something must bring as its bearer token; without one nothing can be changed.
        made_token: Whether it was made for this run, so that whoever started it has to be told.
        cors: Origins whose pages may ask, such as https://shop.example, or "*" for any; none where there are none.
        ui: Whether there is a page to look at, at /ui; it shows histories to whoever asks.
        log_requests: Whether each request is a line of the log.
        drain_seconds: For how long after SIGTERM requests are still taken, while /readyz says that this ends.
        poll_seconds: How often the registry is asked whether another version is to be served; 0 for never.
        least_recall: What an approximate index must find of an exact one's, from 0 to 1, or its version is not swapped
            in.
        events: Where users' events are kept, a file or the address of a Redis; "" for the model's own place, None for
            nowhere.
        keep_events: How many events of a user are kept, the latest ones; `serving.state.events.KEPT` where not given.
        impressions: A folder where answers are noted; not noted without.
        shadow: Another model that is asked some of the requests too, for nobody to see.
        shadow_share: Which share of them, from 0 to 1.
        new_items: Takes items that have come since the model was built, and keeps them in this file; none without.

    Raises:
        SettingError: A setting that cannot be.
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

    @property
    def end_seconds(self) -> float:
        """For how long requests in flight are still answered when no more are taken: as long as one may wait."""
        return max(10.0, self.most_seconds)

    def __post_init__(self) -> None:
        for name in ("threads", "drain_seconds", "poll_seconds"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingError(name, f"is 0 or more, got {getattr(self, name)}")
        for name in ("most_waiting", "most_seconds", "keep_events"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < float("inf"):
                raise SettingError(name, f"is above 0, got {getattr(self, name)}")
        for name in ("least_recall", "shadow_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(name, f"is from 0 to 1, got {getattr(self, name)}")
        if self.token is not None and not re.fullmatch(r"[!-~]{16,}", self.token):
            raise SettingError("token", "is at least 16 characters of ASCII without a space")
        for one in self.cors:
            if one != "*" and not _ORIGIN.fullmatch(one):
                raise SettingError(
                    "cors",
                    f"is an origin as browsers write it, scheme://host or scheme://host:port in lower case and without "
                    f"a path, or * for any, got {one!r:.100}",
                )
