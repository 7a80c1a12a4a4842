"""What the generated shop's users truly want: the optimum that no model sees and every model is measured against."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.errors import InputError
from features.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Planted:
    """The probabilities that the interactions were drawn from.

    A user u picks department t with weight w(u, t) and in it an item by its popularity and by how its style suits the
    user, or (seldom) any item by popularity alone:

        p(i | u) = w(u, t(i)) p(i | t(i), style(u)) + w(u, any) p(i)

    The weights move in a straight line over a user's time in the shop. Nobody takes an item twice, so what a user has
    had is to be left out of a ranking by p, as evaluation does.

    Args:
        users: user_id, sorted. (U,)
        items: item_id, sorted: the order of an item vocabulary, hence of columns of scores. (N,)
        departments: Their names. (topics,)
        slots: The departments that a user cares about. (U, J)
        weights: Of those, when the user is new (0) and at the end of the log (1). (2, U, J)
        any_weight: Of picking any item by its popularity, w(u, any).
        style: Of each user. (U,)
        topic: Of each item. (N,)
        within: p(i | t(i), style) for each style. (styles, N)
        popularity: p(i), of the pick by popularity alone. (N,)
    """

    users: pl.Series
    items: pl.Series
    departments: pl.Series
    slots: np.ndarray
    weights: np.ndarray
    any_weight: float
    style: np.ndarray
    topic: np.ndarray
    within: np.ndarray
    popularity: np.ndarray

    def scores(self, user_ids: pl.Series | Sequence[int | str], at: float = 0.5) -> np.ndarray:
        """The true probability of each item for each user. For users that the shop does not know: popularity.

        Args:
            user_ids: (B,)
            at: When in a user's time in the shop, from 0 to 1. One half is the mean over that time, right for
                interactions withheld at random; the last ones ask for 1.

        Returns:
            (B, N) float32; rows sum to 1, and items never sold have 0.
        """
        rows = self._users.rows(user_ids)
        known = rows >= 0
        taste = self.interests(user_ids, at)  # (B, topics)
        style = self.style[np.where(known, rows, 0)]
        scores = taste[:, self.topic] * self.within[style]  # (B, N)
        scores += np.where(known, self.any_weight, 1.0)[:, None] * self.popularity
        return scores.astype(np.float32)

    def interests(self, user_ids: pl.Series | Sequence[int | str], at: float = 0.5) -> np.ndarray:
        """The weight of each department for each user; zeros for users that the shop does not know.

        Args:
            user_ids: (B,)
            at: See `scores`.

        Returns:
            (B, topics) float64; rows sum to one less the weight of picking any item.
        """
        if not 0 <= at <= 1:
            raise InputError(f"at is from 0 (new to the shop) to 1 (the end), got {at}")
        rows = self._users.rows(user_ids)
        known = np.flatnonzero(rows >= 0)
        taste = np.zeros((len(rows), len(self.departments)))
        weights = (1 - at) * self.weights[0, rows[known]] + at * self.weights[1, rows[known]]
        filled = np.zeros((len(known), len(self.departments)))
        np.put_along_axis(filled, self.slots[rows[known]], weights * (1 - self.any_weight), axis=1)
        taste[known] = filled
        return taste

    @cached_property
    def _users(self) -> Vocabulary:
        return Vocabulary("user_id", self.users)

    def save(self, path: Path | str) -> None:
        """Writes all of it to one .npz, which no data set reads."""
        path = Path(path)
        arrays: dict[str, Any] = {one.name: np.asarray(_plain(getattr(self, one.name))) for one in fields(self)}
        partial = path.with_name(f".{path.name}.{os.getpid()}.npz")
        np.savez_compressed(partial, **arrays)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path | str) -> Planted:
        """The inverse of `save`."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                values = {one.name: arrays[one.name] for one in fields(cls)}
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} holds no planted optimum: {error}") from error
        for name in ("users", "items", "departments"):
            values[name] = pl.Series(values[name])
        values["any_weight"] = float(values["any_weight"])
        return cls(**values)


def _plain(value: object) -> object:
    if isinstance(value, pl.Series):
        # as numpy's own strings: its object arrays would have to be pickled
        return value.to_numpy() if value.dtype != pl.String else np.array(value.to_list(), dtype=np.str_)
    return value
