"""What time it is, as the training data counts it."""

from __future__ import annotations

import time

from features.time_units import UNITS, unit_of
from serving.bundles.bundle import Bundle


def unit_of_bundle(bundle: Bundle) -> str | None:
    """The unit of a bundle's times; None where they only say an order."""
    return unit_of(bundle.manifest.data.get("cutoff"))


def now_of(bundle: Bundle) -> int:
    """Now, in the unit of a bundle's training data; just after all that it knows, where times only say an order."""
    unit = unit_of_bundle(bundle)
    if unit is not None:
        return time.time_ns() * UNITS[unit] // 10**9
    return max((bundle.manifest.data.get("cutoff") or 0, bundle.known.latest or 0)) + 1
