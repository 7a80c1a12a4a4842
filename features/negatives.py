"""Unseen items, drawn uniformly for each user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.batches import JaggedArray
from features.errors import InputError


@dataclass(frozen=True)
class Negatives:
    """Draws items that a user has not seen, each of them equally likely.

    Args:
        pairs: What was seen, as user * n_items + item, ascending and distinct. (nnz,) int64
        n_items: N
        candidates: Item rows to draw from. (M,) int64
    """

    pairs: np.ndarray
    n_items: int
    candidates: np.ndarray

    @classmethod
    def of(cls, seen: JaggedArray, n_items: int, candidates: np.ndarray | None = None) -> Negatives:
        """From what each user has seen.

        Args:
            seen: (U rows)
            n_items: N
            candidates: Item rows to draw from; all of them where not given.
        """
        users = np.repeat(np.arange(len(seen)), seen.lengths)
        pairs = np.unique(users * n_items + seen.values)
        return cls(pairs, n_items, np.arange(n_items) if candidates is None else candidates)

    def draw(self, users: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """An unseen item for each of the given users; a user that is given twice may get the same item twice.

        Args:
            users: User rows. (n,)
            random: Where the draws come from.

        Raises:
            InputError: A user that has seen every candidate.

        Example:
            >>> seen = JaggedArray(np.array([0, 2, 1]), np.array([0, 2, 3]))
            >>> Negatives.of(seen, 3).draw(np.array([0, 0]), np.random.default_rng(0)).tolist()
            [1, 1]
        """
        items = np.empty(len(users), np.int64)
        open_ = np.arange(len(users))
        rounds = 0
        while len(open_):
            if rounds == _ROUNDS:
                self._exhaustive(users, items, open_, random)
                break
            drawn = self.candidates[random.integers(len(self.candidates), size=len(open_))]
            items[open_] = drawn
            open_ = open_[self._seen(users[open_] * self.n_items + drawn)]
            rounds += 1
        return items

    def _seen(self, pairs: np.ndarray) -> np.ndarray:
        at = np.searchsorted(self.pairs, pairs)
        return (
            self.pairs[np.minimum(at, len(self.pairs) - 1)] == pairs if len(self.pairs) else np.zeros(len(pairs), bool)
        )

    def _exhaustive(self, users: np.ndarray, items: np.ndarray, open_: np.ndarray, random: np.random.Generator) -> None:
        """For the few users that have seen almost everything: list what is left, and draw from that."""
        for user in np.unique(users[open_]):
            left = self.candidates[~self._seen(user * self.n_items + self.candidates)]
            if not len(left):
                raise InputError(f"the user of row {user} has seen every item, so none can be drawn as unseen")
            places = open_[users[open_] == user]
            items[places] = left[random.integers(len(left), size=len(places))]


#: how often a draw is repeated before what is left is listed
_ROUNDS = 30
