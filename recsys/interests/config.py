"""What a user's interests are made of, and how many of them ask."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from features.errors import InputError
from recsys.interests.clusters import ClustersConfig

#: how users are asked for: by one vector, by a mixture of interests, or by one that similar users smooth
RetrieverKind = Literal["unimodal", "mixture", "smoothed"]
KINDS: tuple[RetrieverKind, ...] = ("unimodal", "mixture", "smoothed")


@dataclass(frozen=True)
class InterestsConfig:
    """kNN-Embed's settings (arXiv 2205.06205, section 3).

    Without neighbours, or with a `mixing` of 0, users are mixtures of what they have had themselves; with one component
    they ask with a single vector.

    Args:
        components: How many of a user's interests ask, the heaviest first.
        neighbours: How many similar users a mixture is smoothed by.
        mixing: Share of the neighbours in it, the paper's lambda; of a user who has had nothing, all of it.
        order: Of the candidates: by the "user", that is by the inner product with the user's own vector, as a single
            query has them, or by "weight", so that the first ones are shared out in proportion, too. Who has no vector
            gets them by weight.
        depth: So many candidates are found at the least, of which the k best are given: a list of fewer begins a longer
            one, and the order has something to choose from.
        clusters: What interests can be in.
    """

    components: int = 5
    neighbours: int = 10
    mixing: float = 0.5
    order: Literal["user", "weight"] = "user"
    depth: int = 50
    clusters: ClustersConfig = field(default_factory=ClustersConfig)

    def __post_init__(self) -> None:
        if not isinstance(self.clusters, ClustersConfig):
            raise InputError(f"interests.clusters is a ClustersConfig, got {self.clusters!r}")
        if not isinstance(self.mixing, int | float):
            raise InputError(f"interests.mixing is a number, got {self.mixing!r}")
        for name in ("components", "neighbours", "depth"):
            if not isinstance(getattr(self, name), int):
                raise InputError(f"interests.{name} is a whole number, got {getattr(self, name)!r}")
        for name in ("components", "depth"):
            if getattr(self, name) < 1:
                raise InputError(f"interests.{name} is at least 1, got {getattr(self, name)}")
        if self.neighbours < 0:
            raise InputError(f"interests.neighbours is 0 or more, got {self.neighbours}")
        if not 0 <= self.mixing <= 1:
            raise InputError(f"interests.mixing is from 0 to 1, got {self.mixing}")
        if self.order not in ("user", "weight"):
            raise InputError(f"interests.order is 'user' or 'weight', got {self.order!r}")

    def to_json(self) -> dict[str, Any]:
        """As plain dictionaries; see `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> InterestsConfig:
        """The inverse of `to_json`."""
        return cls(**{**data, "clusters": ClustersConfig(**data["clusters"])})
