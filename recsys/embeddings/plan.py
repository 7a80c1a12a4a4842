"""The embedding plan: one declaration from which every table, width and row address of a model follows.

Two kinds behind one interface:

- *collisionless*: a table a feature, a row an id.
- *multiplexed*: Unified Embedding (Coleman et al., 'Unified Embedding: Battle-Tested Feature Representations for
  Web-Scale ML Systems', NeurIPS 2023): ONE table whose rows all features share. A feature's vector is the
  concatenation of several look-ups, each at a row given by a hash of the raw id salted by (feature, look-up). The
  next layer learns to tell the features apart, so that collisions between features cost little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from features.errors import InputError


@dataclass(frozen=True)
class EmbeddingPlan:
    """How declared features are embedded.

    Args:
        kind: "collisionless" or "multiplexed".
        width: Width E of every feature's embedding.
        lookups: Multiplexed: how many look-ups are concatenated to make one embedding; divides `width`.
        budget: Multiplexed: parameters of the shared table, relative to those of the collisionless tables.
        rows: Multiplexed: rows of the shared table; 0 lets `budget` decide.
        initial_range: Tables start uniform in +- this. (N(0, 1) would cost about 5 points of AUC: Unified Embedding
            replications start at 0.05.)
        unknown_rate: Share of ids that training replaces by the feature's default vector, so that the vector which
            an id never seen gets when serving is a learned one.
    """

    kind: Literal["collisionless", "multiplexed"] = "multiplexed"
    width: int = 64
    lookups: int = 2
    budget: float = 1.0
    rows: int = 0
    initial_range: float = 0.05
    unknown_rate: float = 0.005

    def __post_init__(self) -> None:
        if self.kind not in ("collisionless", "multiplexed"):
            raise InputError(f"embeddings.kind is {self.kind!r}, not 'collisionless' or 'multiplexed'")
        if self.width < 1 or self.lookups < 1:
            raise InputError(
                f"embeddings.width and embeddings.lookups are at least 1, got {self.width} and {self.lookups}"
            )
        if self.kind == "multiplexed" and self.width % self.lookups:
            raise InputError(f"embeddings.width {self.width} is not a multiple of embeddings.lookups {self.lookups}")
        if not self.budget > 0:
            raise InputError(f"embeddings.budget is a positive number, got {self.budget}")
        if not 0 <= self.unknown_rate < 1:
            raise InputError(f"embeddings.unknown_rate is in [0, 1), got {self.unknown_rate}")
        if self.rows < 0:
            raise InputError(f"embeddings.rows is 0 or more, got {self.rows}")

    def table_rows(self, vocabulary_sizes: list[int]) -> int:
        """Rows of the multiplexed table that the budget buys.

        Args:
            vocabulary_sizes: One number for each identity that is embedded; each has one default entry besides.
        """
        collisionless = sum(size + 1 for size in vocabulary_sizes) * self.width
        return self.rows or max(1, round(self.budget * collisionless * self.lookups / self.width))


@dataclass(frozen=True)
class FeatureLookup:
    """One feature as the look-ups see it.

    Args:
        feature: Its name in batches.
        identity: Whose rows it uses: its own, or those of another feature with the same vocabulary, so that an item
            has one vector as a candidate and in a history.
        pooling: How several values become one vector: "sum", "mean", or "sqrt" (sum over the square root of their
            number: the longer the history, the longer its vector, but slowly).
        unknowns: Whether it may hold unknown ids. Histories drop theirs, so they need no default vector.
    """

    feature: str
    identity: str
    pooling: Literal["sum", "mean", "sqrt"] = "mean"
    unknowns: bool = True
