"""What became of a data set's items when it was read through an entity map."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EntityJoin:
    """The entity map that a data set was read through, and what that did.

    Args:
        version: Of the map.
        sha256: Of the map.
        items: There were before.
        entities: That they are; the items there are now.
        interactions: There were before.
        kept: That there are now; of several of a user with one entity at one time, one stays.
        unknown_items: That the map lacks, and which were dropped.
        unknown_interactions: That were dropped with them.
    """

    version: int
    sha256: str
    items: int
    entities: int
    interactions: int
    kept: int
    unknown_items: int = 0
    unknown_interactions: int = 0

    @property
    def identity(self) -> str:
        """As manifests have it."""
        return f"version {self.version}, {self.sha256[:16]}"

    def __str__(self) -> str:
        told = (
            f"entity map version {self.version}: {self.items:,} items are {self.entities:,} entities, and "
            f"{self.interactions:,} interactions {self.kept:,}"
        )
        if not self.unknown_items:
            return told
        dropped = (
            f"{self.unknown_items:,} items that it lacks, and {self.unknown_interactions:,} interactions with them"
        )
        return f"{told}; dropped before: {dropped}"
