"""What whoever is refused can do about it, and only what would help: newer data, another split, a wider tolerance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from serving.bundles.manifest import Manifest
from training.promotion.gates import Gate
from training.promotion.moments import told
from training.promotion.window import Window

#: how splits of each name withhold, where the latest interactions need not be among what is withheld
_SPLIT = {
    "random": "was split at random",
    "leave-one-out": "was split by leave-one-out",
    "cold-items": "was split by items",
    "sessions": "was split by sessions",
    "given": "was split as its data says",
}
_UNGATED = "promote with --no-gates --why TEXT"


def past_the_data(bundles: Mapping[str, Manifest], latest: int) -> str | None:
    """Why nothing of some data is later than what bundles know, and what to do; None where something is.

    Args:
        bundles: "version 3" and the like, the one that is to be promoted first.
        latest: The data's last timestamp.
    """
    knowing = {who: one for who, one in bundles.items() if (one.data.get("known_until") or 0) >= latest}
    if not knowing:
        return None
    whys = [f"{who} {_why_it_knows(one)}" for who, one in knowing.items()]
    # another version would be asked beside the same champion, and be no better off if that knows everything
    only = next(iter(knowing)) if len(knowing) == 1 else None
    ways = [_other_training(bundles[only])] if only == next(iter(bundles)) else []
    return f"{', and '.join(whys)}: {', '.join(filter(None, [*ways, 'bring newer data']))}, or {_UNGATED}"


def _other_training(manifest: Manifest) -> str | None:
    """How a version would be trained to have a window of its own."""
    ways = [] if manifest.split.get("name") == "time" else ["with --split time"]
    ways += ["without --refit"] if manifest.refitted else []
    return f"train {' and '.join(ways)}" if ways else None


def _why_it_knows(manifest: Manifest) -> str:
    """How a bundle has come to know the latest interactions."""
    if manifest.refitted:
        return "was refitted on all of its data, so it knows the latest of them"
    how = _SPLIT.get(str(manifest.split.get("name")))
    if how is not None:
        return f"{how}, so it knows the latest of them"
    return f"knows interactions until {told(manifest.data['known_until'])}"


def ways_on(failed: Sequence[Gate], window: Window | None, earliest: int | None) -> str | None:
    """What would help a version that is only not shown to be good enough; None where something is shown against it.

    Args:
        failed: The gates that it does not pass.
        window: What it was asked.
        earliest: From which timestamp on the window could have begun.
    """
    needed = [one.passes_at for one in failed]
    if window is None or not needed or any(one is None for one in needed):
        return None
    share = math.ceil(100 * max(one for one in needed if one is not None)) / 100
    ways = [f"--gate quality={share:g} allows as much"]
    if earliest is not None and earliest < window.since:
        ways.append(f"a --since from {told(earliest)} on is a longer window")
    elif window.users < window.in_all:
        ways.append(f"--gate users=0 asks all {window.in_all:,}")
    else:
        ways.append("newer data has a longer window")
    return f"more users would tell: {', '.join(ways)}, or {_UNGATED}"
