"""A version that did not take over, and when it is tried again.

What was wrong with the version itself (a hash, a count, a golden request) is wrong the next time, too. What was wrong
with a disk, a network or the memory passes, and nobody should have to be there when it has.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from serving.bundles.sealed import BundleError
from serving.naming import Resolved, Unfetched

#: a version is tried again after so long, then after twice as long each time
_FIRST_SECONDS = 10.0
_LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Setback:
    """A version that did not take over.

    Args:
        version: Which.
        tries: How often it was tried in a row.
        seconds: After how long it is tried again; None for never by itself.
        due: When that is, by `time.monotonic`.
    """

    version: Resolved
    tries: int
    seconds: float | None
    due: float

    @classmethod
    def of(cls, version: Resolved, lasting: bool, before: Setback | None = None) -> Setback:
        """Takes note of a version.

        Args:
            version: Which did not take over.
            lasting: Whether it would not the next time either.
            before: What is known of the last one that did not.
        """
        tries = 1 + (before.tries if before is not None and version.is_same(before.version) else 0)
        seconds = None if lasting else min(_FIRST_SECONDS * 2.0 ** min(tries - 1, 30), _LONGEST_SECONDS)
        return cls(version, tries, seconds, float("inf") if seconds is None else time.monotonic() + seconds)

    @property
    def waits(self) -> bool:
        """Whether it is not time yet to try again."""
        return time.monotonic() < self.due


def lasts(error: BaseException) -> bool:
    """Whether what went wrong with a version is wrong with the version, so that it would go wrong again."""
    if isinstance(error, Unfetched):
        return error.lasting
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError | MemoryError):
            return False
        cause = cause.__cause__
    return isinstance(error, BundleError)
