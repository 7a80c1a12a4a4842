"""The versions that a service begins with: looked up once, however many processes it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from serving.naming import Resolved
from serving.resolve import resolve_aside


class Found(NamedTuple):
    """What is served, and who is asked in its shadow: versions, where they are models."""

    model: Resolved | None
    shadow: Resolved | None

    def notice(self, source: str | Path | None) -> str | None:
        """What whoever serves the newest version of a model should know; None for an alias, a version or a folder.

        Args:
            source: What the model was looked up by.
        """
        if self.model is None or str(source) != f"models:/{self.model.name}":
            return None
        return (
            f"{source} is its newest version, {self.model.version}, whether it was promoted or not, and stays "
            f"that one until the service starts again; {source}@champion follows promotions, and "
            f"{source}/{self.model.version} is this version at every start"
        )


def look_up(source: str | Path | None, shadow: str | Path | None, tracking_uri: str | None) -> Callable[[], Found]:
    """Begins to look up the models; what is returned waits for them, and raises what `serving.resolve.resolve` would.

    Args:
        source: What is to be served, if it is a model.
        shadow: Who is to be asked in its shadow, if anybody.
        tracking_uri: Where models are registered.
    """
    asked = [None if one is None else resolve_aside(one, tracking_uri) for one in (source, shadow)]
    return lambda: Found(*(None if one is None else one() for one in asked))
