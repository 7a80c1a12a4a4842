"""What time it is, as the training data counts it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from serving.bundles.bundle import Bundle

#: how many of each make a second
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
#: between these, a number of seconds is taken for a time: no unit's range meets another's
_FROM, _TO = datetime(1980, 1, 1, tzinfo=UTC).timestamp(), datetime(2200, 1, 1, tzinfo=UTC).timestamp()


def unit_of(latest: int | None) -> str | None:
    """The unit of the training data's times, by the size of the latest one; None where they only say an order.

    Example:
        >>> unit_of(1_046_454_590), unit_of(1_400_000_000_000_000), unit_of(100_000)
        ('seconds', 'microseconds', None)
    """
    return next((u for u, n in UNITS.items() if latest is not None and _FROM * n <= latest < _TO * n), None)


def unit_of_bundle(bundle: Bundle) -> str | None:
    """The unit of a bundle's times."""
    return unit_of(bundle.manifest.data.get("cutoff"))


def now_of(bundle: Bundle) -> int:
    """Now, in the unit of a bundle's training data; just after all that it knows, where times only say an order."""
    unit = unit_of_bundle(bundle)
    if unit is not None:
        return time.time_ns() * UNITS[unit] // 10**9
    return max((bundle.manifest.data.get("cutoff") or 0, bundle.known.latest or 0)) + 1
