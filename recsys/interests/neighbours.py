"""Who is like whom: the users that a mixture is smoothed by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.batches import JaggedArray
from recsys.directions import directions
from recsys.index import IndexConfig, ItemIndex


@dataclass(frozen=True, eq=False)
class SimilarUsers:
    """Users of known histories, searchable by the cosine of their vectors.

    Args:
        index: Their vectors, of length 1; zero for users who have none. (U, D)
    """

    index: ItemIndex

    @classmethod
    def fit(cls, vectors: np.ndarray, config: IndexConfig | None = None) -> SimilarUsers:
        """Indexes the users' vectors.

        Args:
            vectors: What a model makes of the users. (U, D) float32
            config: How they are searched: an exact search of U users takes time that grows with its square.
        """
        return cls(ItemIndex.build(directions(vectors), config))

    def of(self, vectors: np.ndarray, k: int, themselves: np.ndarray | None = None) -> np.ndarray:
        """The k users most like each of B.

        Args:
            vectors: What the same model makes of them. (B, D) float32
            k: How many.
            themselves: Their own rows among the known users, who are not their own neighbours; -1 for none. (B,)

        Returns:
            User rows, most alike first; -1 where there are no more, and for users whose vector is zero. (B, k) int64
        """
        wanted = directions(vectors)
        exclude = None
        if themselves is not None:
            known = np.flatnonzero(themselves >= 0)
            exclude = JaggedArray.from_pairs(known, themselves[known], len(themselves))
        _, rows = self.index.search(wanted, k, exclude)
        rows[~wanted.any(axis=1)] = -1
        return rows
