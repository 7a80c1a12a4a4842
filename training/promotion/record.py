"""What stands on a version of who made it champion, when and why, and what its gates found: tags of the registry."""

from __future__ import annotations

import datetime
import getpass
import json
from collections.abc import Mapping, Sequence
from typing import Any

from training.promotion.gates import Gate

#: who made a version champion, when and why, and what its gates found
BY, AT, WHY, GATES = "promoted_by", "promoted_at", "promoted_why", "promoted_gates"
#: who took it back, when and why
BACK_BY, BACK_AT, BACK_WHY = "rolled_back_by", "rolled_back_at", "rolled_back_why"

#: tags hold no more on older servers
_LONGEST = 5000


def told_of(gates: Sequence[Gate], facts: Mapping[str, Any]) -> str:
    """What gates found, as compact JSON; "none" where there were none.

    Args:
        gates: Those that were passed.
        facts: What was asked.
    """
    if not gates:
        return "none"
    told = {"passed": [one.name for one in gates if one.passed], **facts}
    told |= {one.name: _rounded(one.figures) for one in gates if one.figures}
    return json.dumps(told, separators=(",", ":"))


def write(client: Any, name: str, version: str, tags: Mapping[str, str]) -> None:
    """Writes tags of a version; what they said before is gone, and so is, of one that is promoted, a rollback."""
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value[:_LONGEST])
    over = {BACK_BY, BACK_AT, BACK_WHY} - set(tags)
    for key in over & set(client.get_model_version(name, version).tags):
        client.delete_model_version_tag(name, version, key)


def now() -> str:
    """The time, UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def who() -> str:
    """Whoever runs this, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        return "unknown"


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float(f"{one:.6g}") if isinstance(one, float) else one for key, one in figures.items()}
