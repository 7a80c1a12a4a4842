"""Who is like whom: the users that a mixture is smoothed by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from features.batches import JaggedArray
from recsys.directions import directions
from recsys.index import IndexConfig, ItemIndex
from recsys.index_kinds import checked_vectors

#: with more users than these, an exact search takes longer than anything else that a request asks for
_EXACT = 50_000


class Likeness(Protocol):
    """Who is like whom."""

    def of(self, vectors: np.ndarray, k: int, themselves: np.ndarray | None = None) -> np.ndarray:
        """See `SimilarUsers.of`."""
        ...


@dataclass(frozen=True, eq=False)
class SimilarUsers:
    """Users of known histories, searchable by the cosine of their vectors.

    Args:
        index: Vectors of length 1, of the users who have one; None where nobody has. (V, D)
        rows: Whose they are, ascending. (V,) int64
        size: How many users there are: U.
    """

    index: ItemIndex | None
    rows: np.ndarray
    size: int

    @classmethod
    def fit(cls, vectors: np.ndarray, config: IndexConfig | None = None) -> SimilarUsers:
        """Indexes the users' vectors.

        Args:
            vectors: What a model makes of the users; zeros of who is not like anybody. (U, D) float32
            config: How they are searched; where not given, exactly up to 50,000 users, and by inverted lists beyond.

        Raises:
            InputError: Vectors that are not finite.
        """
        vectors = checked_vectors(vectors, "user vectors", None)
        rows = np.flatnonzero(vectors.any(axis=1))
        kind = config or IndexConfig(kind="exact" if len(rows) <= _EXACT else "ivf")
        return cls(ItemIndex.build(directions(vectors[rows]), kind) if len(rows) else None, rows, len(vectors))

    def of(self, vectors: np.ndarray, k: int, themselves: np.ndarray | None = None) -> np.ndarray:
        """The k users most like each of B.

        Args:
            vectors: What the same model makes of them. (B, D) float32
            k: How many.
            themselves: Their own rows among the known users, who are not their own neighbours; -1 for none. (B,)

        Returns:
            User rows, most alike first; -1 where there are no more, and for users whose vector is zero. (B, k) int64
        """
        if self.index is None:
            return np.full((len(vectors), k), -1)
        wanted = directions(vectors)
        exclude = None
        if themselves is not None:
            place = np.searchsorted(self.rows, themselves).clip(max=len(self.rows) - 1)
            known = np.flatnonzero(self.rows[place] == themselves)
            exclude = JaggedArray.from_pairs(known, place[known], len(themselves))
        found = self.index.search(wanted, k, exclude)[1]
        rows = np.where(found >= 0, self.rows[found], -1)
        rows[~wanted.any(axis=1)] = -1
        return rows
