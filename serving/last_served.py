"""Which version the processes of a service answer with, for one that takes a dead one's place."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from serving.resolve import Resolved

_FILE = "served.json"


def remember_served(folder: Path | None, resolved: Resolved) -> None:
    """Says that a version answers.

    Args:
        folder: Of all processes of the service; None of one that is alone.
        resolved: The version.
    """
    if folder is None:
        return
    part = folder / f"{_FILE}.{os.getpid()}"
    part.write_text(json.dumps(dataclasses.asdict(resolved), default=str), encoding="utf-8")
    part.replace(folder / _FILE)


def last_served(folder: Path | None) -> Resolved | None:
    """The version that answers, if any does and it is still there."""
    if folder is None:
        return None
    try:
        told = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    resolved = Resolved(**{**told, "folder": Path(told["folder"])})
    return resolved if resolved.folder.is_dir() else None
