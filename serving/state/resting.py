"""A server that does not answer is asked by one at a time, and by nobody for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Resting(Exception):
    """Nobody is to ask now."""


class Turnstile:
    """Lets everybody ask a server that answers, and one at a time a server that has just not done so.

    Safe to share between threads.

    Args:
        first: For how many seconds nobody asks after the first failure; twice as long after each further one,
        longest: and never longer than this.

    Example:
        >>> turnstile = Turnstile(first=60)
        >>> try:
        ...     with turnstile.through(TimeoutError):
        ...         raise TimeoutError
        ... except TimeoutError:
        ...     turnstile.resting
        True
    """

    def __init__(self, first: float = 0.5, longest: float = 8.0) -> None:
        self._first, self._longest = first, longest
        self._lock = threading.Lock()
        self._failures, self._until, self._probing = 0, 0.0, False

    @property
    def resting(self) -> bool:
        """Whether nobody is to ask now, save who has to."""
        with self._lock:
            return self._failures > 0 and time.monotonic() < self._until

    @contextmanager
    def through(self, *failures: type[Exception], insist: bool = False) -> Iterator[None]:
        """Asks, in its block, if it may.

        Args:
            failures: What the block raises where the server does not answer.
            insist: Ask even if it is not time yet, though never beside another one who waits to see whether it is back.

        Raises:
            Resting: It may not; nothing was asked.
        """
        with self._lock:
            away = self._failures > 0
            if away and (self._probing or (not insist and time.monotonic() < self._until)):
                raise Resting
            self._probing |= away
        try:
            yield
        except failures:
            with self._lock:
                # of those who were all asking when it went away, each finds out; that is one failure
                if away or not self._failures:
                    self._failures += 1
                rest = min(self._longest, self._first * 2 ** min(self._failures - 1, 30))
                self._until = time.monotonic() + rest
            raise
        except Exception:  # it answers, though not what was hoped for
            self._answered()
            raise
        else:
            self._answered()
        finally:
            with self._lock:
                self._probing &= not away

    def _answered(self) -> None:
        with self._lock:
            self._failures = 0
