"""The embedding plan: one declaration from which every table, width and row address of a model follows.

Three kinds behind one interface, so that one word compares them:

- *collisionless*: a table a feature, a row an id. What the others are measured against; it grows with the ids.
- *hashed*: a table a feature, of a size that the budget decides; ids are hashed onto its rows (the hashing trick).
- *multiplexed*: Unified Embedding (Coleman et al., 'Unified Embedding: Battle-Tested Feature Representations for
  Web-Scale ML Systems', NeurIPS 2023): ONE row space that all features share. The next layer learns to tell the
  features apart, so that collisions between features cost little, and every feature has all the rows to spread over.

The vector of a hashed or multiplexed feature is the concatenation of several look-ups, each at a row given by a hash of
the raw id salted by (feature, look-up). Features get wider vectors by more look-ups; rows all have one width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from features.errors import InputError

KINDS = ("collisionless", "hashed", "multiplexed")

_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class EmbeddingPlan:
    """How declared features are embedded.

    Args:
        kind: "collisionless", "hashed" or "multiplexed".
        width: Width E of a feature's embedding, where `widths` does not say otherwise.
        lookups: Hashed and multiplexed: how many look-ups are concatenated to make a vector of that width; divides
            `width`. Rows have the width `width / lookups`.
        widths: Features of another width. Hashed and multiplexed: a multiple of the rows' width, so that another width
            is another number of look-ups.
        tables: Multiplexed: back-end tables that share the rows; look-ups are assigned to them round robin.
        budget: Hashed and multiplexed: the parameters of all tables together, as a share of the collisionless tables'
            (1.0, 0.1), or as the size of their float32 weights ("1.6MB", "20GB"; 1 kB is 1,000 bytes).
        initial_range: Tables start uniform in +- this. (N(0, 1) would cost about 5 points of AUC: Unified Embedding
            replications start at 0.05.)
        unknown_rate: Share of ids that training replaces by the feature's default vector, so that the vector which
            an id never seen gets when serving is a learned one.

    Example:
        >>> plan = EmbeddingPlan(width=32, lookups=2, widths={"item_id": 48})
        >>> plan.lookups_of("genres"), plan.lookups_of("item_id"), plan.row_width
        (2, 3, 16)
    """

    kind: Literal["collisionless", "hashed", "multiplexed"] = "multiplexed"
    width: int = 64
    lookups: int = 2
    widths: dict[str, int] = field(default_factory=dict)
    tables: int = 1
    budget: float | str = 1.0
    initial_range: float = 0.05
    unknown_rate: float = 0.005

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"model.embeddings.kind is {self.kind!r}, not one of {', '.join(KINDS)}")
        for name in ("width", "lookups", "tables"):
            if getattr(self, name) < 1:
                raise InputError(f"model.embeddings.{name} is at least 1, got {getattr(self, name)}")
        if self.kind != "collisionless" and self.width % self.lookups:
            raise InputError(
                f"model.embeddings.width {self.width} is not a multiple of model.embeddings.lookups {self.lookups}"
            )
        for feature, width in self.widths.items():
            if width < 1 or width % self.row_width:
                raise InputError(
                    f"model.embeddings.widths.{feature} is {width}, not a multiple of the rows' width {self.row_width} "
                    "(model.embeddings.width / model.embeddings.lookups)"
                )
        if not 0 <= self.unknown_rate < 1:
            raise InputError(f"model.embeddings.unknown_rate is in [0, 1), got {self.unknown_rate}")
        if not self.initial_range > 0:
            raise InputError(f"model.embeddings.initial_range is a positive number, got {self.initial_range}")
        self.parameters(1)

    @property
    def row_width(self) -> int:
        """Width of a row of the hashed and multiplexed tables; collisionless ones may have any."""
        return 1 if self.kind == "collisionless" else self.width // self.lookups

    def width_of(self, feature: str) -> int:
        """Width of a feature's embedding."""
        return self.widths.get(feature, self.width)

    def lookups_of(self, feature: str) -> int:
        """How many rows make a feature's embedding."""
        return 1 if self.kind == "collisionless" else self.width_of(feature) // self.row_width

    def parameters(self, collisionless: int) -> float:
        """How many weights the tables may have.

        Args:
            collisionless: How many the collisionless tables have.
        """
        if self.kind == "collisionless":
            return collisionless
        if isinstance(self.budget, str):
            found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([kKMGT]?B)\s*", self.budget)
            weights = float(found[1]) * _BYTES[found[2]] / 4 if found else 0.0
        else:
            weights = self.budget * collisionless
        if not 0 < weights < float("inf"):
            raise InputError(
                f'model.embeddings.budget is a positive number, or a size such as "1.6MB" (B, kB, MB, GB or TB), '
                f"got {self.budget!r}"
            )
        return weights


@dataclass(frozen=True)
class FeatureLookup:
    """One feature as the look-ups see it.

    Args:
        feature: Its name in batches.
        identity: Whose rows it uses: its own, or those of another feature with the same vocabulary, so that an item
            has one vector as a candidate and in a history.
        pooling: How several values become one vector: "sum", "mean", or "sqrt" (sum over the square root of their
            number: the longer the history, the longer its vector, but slowly); "none" leaves a vector for each value,
            as sequence models want them.
        unknowns: Whether it may hold unknown ids. Histories drop theirs, so they need no default vector.
    """

    feature: str
    identity: str
    pooling: Literal["sum", "mean", "sqrt", "none"] = "mean"
    unknowns: bool = True
