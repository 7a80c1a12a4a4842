"""Configuration of a job that resolves records to entities."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from features.errors import InputError
from recsys.blocking.blocker import BlockingConfig
from recsys.entities.clusters import CLUSTERS
from recsys.text_encoders import TextEncoderConfig


@dataclass(frozen=True)
class CascadeConfig:
    """How much a matcher may judge; where both are 0 it judges all candidates, and `serving.entities.cascade` else.

    Args:
        pairs: So many pairs.
        minutes: For so long.
    """

    pairs: int = 0
    minutes: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pairs", "minutes"):
            if getattr(self, name) < 0:
                raise InputError(f"cascade.{name} is 0 or more, got {getattr(self, name)}")
        if self.pairs and self.minutes:
            raise InputError("cascade.pairs and cascade.minutes are both given; a budget is one of them")


@dataclass(frozen=True)
class ResolveConfig:
    """How records become entities.

    Args:
        blocking: Which pairs are looked at.
        encoder: The bi-encoder, where `blocking.ways` has "vectors".
        cascade: What the matcher may cost, where it is not to judge all candidates.
        clusters: "components", "centre" or "correlation": see `recsys.entities.clusters`.
        one_to_one: No record has two partners in one other source: for sources without duplicates.
        duplicates: Records of one source may be the same thing, too; of a single source they always may.
        precision: Wanted of the matcher, on its validation pairs; its own threshold, where 0.
    """

    #: what shows all settings
    shown_by: ClassVar[str] = "recsys resolve --print-config"

    blocking: BlockingConfig = field(default_factory=BlockingConfig)
    encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    cascade: CascadeConfig = field(default_factory=CascadeConfig)
    clusters: str = "correlation"
    one_to_one: bool = False
    duplicates: bool = False
    precision: float = 0.0

    def __post_init__(self) -> None:
        if self.clusters not in CLUSTERS:
            raise InputError(f"clusters is {self.clusters!r}, not one of {', '.join(CLUSTERS)}")
        if self.one_to_one and self.duplicates:
            raise InputError("one_to_one is for sources without duplicates, and duplicates says that there are some")
        if self.encoder != TextEncoderConfig() and "vectors" not in self.blocking.ways:
            raise InputError(
                f"encoder makes vectors of records, and blocking.ways is {', '.join(self.blocking.ways)} without them"
            )
        if not 0 <= self.precision <= 1:
            raise InputError(f"precision is 0 (the matcher's own threshold) to 1, got {self.precision:g}")

    def of_sources(self, n: int) -> ResolveConfig:
        """The same for so many sources: one alone is searched for duplicates.

        Raises:
            InputError: One to one of a single source.
        """
        if n > 1:
            return self
        if self.one_to_one:
            raise InputError("one_to_one is between sources, and there is one")
        return replace(self, duplicates=True)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ResolveConfig:
        """From what `dataclasses.asdict` gave, lists for tuples allowed."""
        blocking: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in data["blocking"].items()
        }
        nested = {
            "blocking": BlockingConfig(**blocking),
            "encoder": TextEncoderConfig(**data["encoder"]),
            "cascade": CascadeConfig(**data["cascade"]),
        }
        return cls(**{**data, **nested})
