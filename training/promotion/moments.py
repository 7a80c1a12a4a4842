"""Timestamps as people write and read them."""

from __future__ import annotations

import datetime

from features.errors import InputError
from features.time_units import UNITS, unit_of


def moment(told: str, latest: int) -> int:
    """What somebody has written, as a timestamp of the data.

    Args:
        told: A number, or a date or time of ISO 8601, which is UTC where it names no zone.
        latest: The latest timestamp of the data.

    Raises:
        InputError: It is neither, or a date where the data's timestamps are none.

    Example:
        >>> moment("2024-05-01", latest=1_717_000_000), moment("17", latest=1_717_000_000)
        (1714521600, 17)
    """
    try:
        return int(told)
    except ValueError:
        pass
    try:
        when = datetime.datetime.fromisoformat(told)
    except ValueError:
        raise InputError(f"{told!r} is neither a number nor a date such as 2024-05-01 or 2024-05-01T12:00") from None
    unit = unit_of(latest)
    if unit is None:
        raise InputError(f"the timestamps of the data, such as {latest}, are no dates; give a number, not {told!r}")
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    whole = round((when - datetime.datetime.fromtimestamp(0, datetime.UTC)).total_seconds() * 1_000_000)
    return whole * UNITS[unit] // 1_000_000


def told(timestamp: int) -> str:
    """A timestamp, as a date too where it is one.

    Example:
        >>> told(1_714_521_600), told(42)
        ('1714521600 (2024-05-01 00:00:00)', '42')
    """
    unit = unit_of(timestamp)
    if unit is None:
        return str(timestamp)
    when = datetime.datetime.fromtimestamp(timestamp // UNITS[unit], datetime.UTC)
    return f"{timestamp} ({when:%Y-%m-%d %H:%M:%S})"
