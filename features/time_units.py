"""The unit of timestamps, by how large they are: data says when something was, and not in what it counts."""

from __future__ import annotations

from datetime import UTC, datetime

#: how many of each make a second
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
#: between these, a number of seconds is taken for a time: no unit's range meets another's, nor a place in an order
_FROM, _TO = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1980, 2200))


def unit_of(timestamp: int | None) -> str | None:
    """The unit of a timestamp, and of the data whose latest it is; None where it only says an order.

    Args:
        timestamp: None where there is none.

    Example:
        >>> unit_of(1_046_454_590), unit_of(1_400_000_000_000_000), unit_of(100_000)
        ('seconds', 'microseconds', None)
    """
    if timestamp is None:
        return None
    return next((unit for unit, n in UNITS.items() if _FROM * n <= timestamp < _TO * n), None)
