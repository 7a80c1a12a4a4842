"""Candidates of several interests: each asks the index for its share, and the lists become one, by item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.batches import JaggedArray
from recsys.interests.allocation import largest_remainder
from recsys.interests.mixtures import Mixtures
from recsys.rescoring import inner_products, without

#: of queries (B, D), how many, what each is not to find (B rows), and with what effort: scores and item rows, best
#: first, (B, k) twice; -1 stands only where no item is left
Search = Callable[[np.ndarray, int, JaggedArray | None, float], tuple[np.ndarray, np.ndarray]]

#: how many more than its share an interest asks for at first, because heavier ones may have brought the same
_SPARE = 8

#: how widely a component looks, as a share of a single query's width: its items lie nearer to each other, and five
#: components that look so widely find as much of what they should as one query does (`benchmarks/interests_speed.py`)
_EFFORT = 0.625


@dataclass(frozen=True, eq=False)
class Retrieved:
    """B users' candidates, best first.

    Args:
        rows: Item rows; -1 where no more are left. (B, K) int64
        scores: What the order is by, falling within each list; 0 where there is none. As they are found, the weight of
            the interest that brought an item, divided by the item's place among those it brought, from a half; see
            `by_user`. (B, K) float32
        components: Which of the user's components brought it, as a position in `Mixtures`; -1 for none. (B, K) int64
    """

    rows: np.ndarray
    scores: np.ndarray
    components: np.ndarray

    def by_user(self, vectors: np.ndarray, vectors_of: Callable[[np.ndarray], np.ndarray]) -> Retrieved:
        """The same items in the order of their inner products with each user's own vector, which become the scores.

        Interests say what is found, and the model which of it comes first; of equals, the smaller row does. Users
        whose vector is zero keep their order and their scores.

        Args:
            vectors: What the model makes of the users. (B, D) float32
            vectors_of: Gives the vectors of item rows: (M,) -> (M, D).
        """
        known = np.any(vectors, axis=1)[:, None]
        scores = np.where(known, inner_products(vectors_of, vectors, self.rows), self.scores)
        order = np.lexsort((self.rows, -scores), axis=1)
        order = np.where(known, order, np.arange(self.rows.shape[1]))
        rows, scores, components = (np.take_along_axis(one, order, 1) for one in (self.rows, scores, self.components))
        return Retrieved(rows, np.where(rows >= 0, scores, 0).astype(np.float32), components)

    def best(self, k: int) -> Retrieved:
        """The first k of each user."""
        return Retrieved(self.rows[:, :k], self.scores[:, :k], self.components[:, :k])


def retrieve(mixtures: Mixtures, search: Search, k: int, seen: JaggedArray | None = None) -> Retrieved:
    """Each component's share of k candidates, without what the user has seen and without any item twice.

    k is shared out in proportion to the weights by `largest_remainder`. The components then take what is nearest to
    them, the heaviest first, each only what no heavier one has taken; so an item counts for one interest, and a list is
    shorter than k only where the catalogue has no more. Scores of different components are inner products with
    different vectors and not to be compared; lists are merged by weight and place instead (as Sainte-Laguë's method
    gives out seats), so that the first j candidates of a list are shared about in proportion, too.

    Args:
        mixtures: Of B users.
        search: What finds items, such as `ItemIndex.search`.
        k: How many candidates.
        seen: Item rows that each user's answer leaves out. (B rows)
    """
    n_users, places = len(mixtures), mixtures.places
    width = int(places.max(initial=-1)) + 1
    at = np.full((n_users, width), -1)  # the position of each user's s-th component
    at[mixtures.users, places] = np.arange(len(places))
    weights = np.where(at >= 0, mixtures.weights[at], 0.0) if width else np.zeros((n_users, 0))
    counts = largest_remainder(weights, k)  # (B, S)
    found = _first_found(mixtures, search, counts, at, seen)
    rows = np.full((n_users, k), -1)
    keys = np.zeros((n_users, k), np.float32)
    brought = np.full((n_users, k), -1)
    filled = np.zeros(n_users, np.int64)
    for place in range(width):
        for members, lists in found[place]:
            wanted = counts[members, place]
            fresh = without(lists, _excluded(None, rows[members], members)) if place else lists
            # who found less than was asked for has found all there is
            short = np.flatnonzero(((fresh >= 0).sum(axis=1) < wanted) & (lists >= 0).all(axis=1))
            if len(short):
                again = members[short]
                taken = _excluded(seen, rows[again], again)
                most = int(wanted[short].max())
                more = search(mixtures.vectors[at[again, place]], most, taken, 1.0)[1]
                fresh = _wide(fresh, more.shape[1])
                fresh[short] = -1
                fresh[short, : more.shape[1]] = more
            columns = np.arange(fresh.shape[1])[None]  # (1, W)
            chosen = (columns < wanted[:, None]) & (fresh >= 0)
            who, column = np.nonzero(chosen)
            users = members[who]
            where = filled[users] + column
            rows[users, where] = fresh[who, column]
            keys[users, where] = weights[users, place] / (column + 0.5)
            brought[users, where] = at[users, place]
            filled[members] += chosen.sum(axis=1)
    order = np.argsort(-keys, axis=1, kind="stable")
    rows, keys, brought = (np.take_along_axis(one, order, axis=1) for one in (rows, keys, brought))
    return Retrieved(rows, keys, brought)


def _first_found(
    mixtures: Mixtures, search: Search, counts: np.ndarray, at: np.ndarray, seen: JaggedArray | None
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """What each component finds for itself: for every place, groups of users with their lists of item rows.

    All components that ask for equally many are searched together, whatever their place.
    """
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(counts.shape[1])]
    users, places = np.nonzero(counts)
    if not len(users):
        return found
    wanted = counts[users, places]
    # what the heavier ones bring may be the same items
    heavier = counts.cumsum(axis=1)[users, places] - wanted
    asked = wanted + np.minimum(_SPARE + wanted // 2, heavier)
    asked = -(-asked // _SPARE) * _SPARE  # what a user is given does not depend on who else is asking
    for most in np.unique(asked).tolist():
        group = np.flatnonzero(asked == most)
        some = users[group]
        skip = None if seen is None else seen.rows(some)
        lists = search(mixtures.vectors[at[some, places[group]]], most, skip, _EFFORT)[1]
        for place in np.unique(places[group]):
            here = np.flatnonzero(places[group] == place)
            found[place].append((some[here], lists[here]))
    return found


def _excluded(seen: JaggedArray | None, taken: np.ndarray, users: np.ndarray) -> JaggedArray:
    """What some users have seen, and what they have been given already. (U rows), (B, K), (B,) -> B rows"""
    who, column = np.nonzero(taken >= 0)
    values = taken[who, column]
    if seen is not None:
        theirs = seen.rows(users)
        who = np.concatenate([np.repeat(np.arange(len(users)), theirs.lengths), who])
        values = np.concatenate([theirs.values, values])
    return JaggedArray.from_pairs(who, values, len(users))


def _wide(lists: np.ndarray, width: int) -> np.ndarray:
    """Padded to a width."""
    missing = max(0, width - lists.shape[1])
    return np.pad(lists, ((0, 0), (0, missing)), constant_values=-1)
