"""The generated shop: interactions drawn from planted interests, so that the best possible ranking is known.

Users care for one to four departments (a weight each, drifting mildly, a new interest growing), and within a department
for items that are popular and suit their style. Popularity has a long tail, some items have never been sold, and
nobody takes an item twice. Everything follows from one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.dataset import Dataset
from features.errors import InputError
from features.sources import shop
from features.sources.planted import Planted

SMALLEST, LARGEST = 1_000, 10_000_000
#: two years of seconds, from the first of January 2023
_BEGIN, _SPAN = 1_672_531_200, 730 * 86_400
_INTERESTS = 4
_ANY_WEIGHT = 0.06
_OTHER_STYLE = 0.10
_NEVER_SOLD = 0.03
_CHUNK = 1 << 14  # users whose interactions are drawn at a time


def load(
    root: Path | None = None,
    interactions: int = 100_000,
    users: int | None = None,
    items: int | None = None,
    seed: int = 0,
    integer_ids: bool = False,
) -> Dataset:
    """The generated shop as a data set; see `generate`, which also gives the optimum."""
    if root is not None:
        raise InputError(f"the generated catalogue is made, not read: it takes no root, got {root}")
    return generate(interactions, users, items, seed, integer_ids)[0]


def generate(
    interactions: int = 100_000,
    users: int | None = None,
    items: int | None = None,
    seed: int = 0,
    integer_ids: bool = False,
) -> tuple[Dataset, Planted]:
    """A shop, and what its users truly want.

    Args:
        interactions: How many, 1,000 to 10 million.
        users: How many; one for 25 interactions (100 at least) where not given.
        items: How many; 6.3 times the square root of the interactions where not given (2,000 for 100,000).
        seed: Equal seeds make equal shops.
        integer_ids: Ids are integers instead of strings such as "u00017" and "sku-000123".

    Raises:
        InputError: A size that is out of range, or too few users and items for so many interactions.

    Example:
        >>> dataset, planted = generate(interactions=1000)
        >>> dataset
        Dataset('generated': 1,000 interactions of 100 users with 200 items)
        >>> planted.scores(["u17"]).sum().round(3)
        np.float32(1.0)
    """
    if not SMALLEST <= interactions <= LARGEST:
        raise InputError(f"the generated catalogue has {SMALLEST:,} to {LARGEST:,} interactions, not {interactions:,}")
    users = max(100, round(interactions / 25)) if users is None else users
    items = max(200, round(6.325 * interactions**0.5)) if items is None else items
    most = items // 8  # of one user; beyond that, interests would run out of items
    if users < 1 or items < 32 or interactions > users * most * 0.8:
        raise InputError(
            f"{interactions:,} interactions need more than {users:,} users with {items:,} items: 32 items at least, "
            "and for a user at most a tenth of them"
        )
    random = np.random.default_rng(seed)
    topics = min(len(shop.words()["departments"]), items // 8)
    user_ids = _ids("u", users, 5, integer_ids)
    item_ids = _ids("sku-", items, 6, integer_ids)
    shelves = shop.stock(items, topics, item_ids, random)
    customers = shop.customers(users, topics, user_ids, random)
    planted = _plant(user_ids, item_ids, shelves, customers, random)
    frame = _draw(planted, _activity(interactions, users, most, random), random)
    return Dataset.construct("generated", frame, shelves.frame, customers.frame, shop.SCHEMA), planted


def _ids(prefix: str, n: int, width: int, integers: bool) -> pl.Series:
    """Sorted, as strings too."""
    numbers = pl.Series(np.arange(n, dtype=np.int64))
    width = max(width, len(str(n - 1)))
    return numbers if integers else pl.select(pl.lit(prefix) + numbers.cast(pl.String).str.zfill(width)).to_series()


def _plant(
    user_ids: pl.Series,
    item_ids: pl.Series,
    shelves: shop.Shelves,
    customers: shop.Customers,
    random: np.random.Generator,
) -> Planted:
    """Decides on every probability."""
    n, (users, topics) = len(item_ids), customers.leaning.shape
    # a long tail within each department: the r-th item sells as 1 / r^0.9
    rank = np.empty(n)
    for topic in range(topics):
        members = np.flatnonzero(shelves.topic == topic)
        rank[members] = random.permutation(len(members)) + 1
    sells = rank**-0.9
    tail = np.flatnonzero(rank > 1)  # no department loses its best
    sells[random.choice(tail, max(1, round(_NEVER_SOLD * n)), replace=False)] = 0.0
    styles = int(shelves.style.max()) + 1
    suits = np.where(np.arange(styles)[:, None] == shelves.style, 1.0, _OTHER_STYLE) * sells  # (styles, N)
    of_topic = np.stack([np.bincount(shelves.topic, weights=row, minlength=topics) for row in suits])
    size = (1.0 / (1.0 + np.arange(topics))) ** 0.5
    # each user's departments: Gumbel noise on top of what is popular, and of what age and household lean to
    liked = np.log(random.permutation(size)) + customers.leaning + random.gumbel(size=(users, topics))
    slots = np.argpartition(-liked, _INTERESTS - 1, axis=1)[:, :_INTERESTS].astype(np.int64)
    strength = random.gamma(0.8, size=(2, users, _INTERESTS)) + 0.02
    weights = strength[:1] * np.array([[[1.0, 1.0, 1.0, 0.0]], [[0.8, 0.8, 0.8, 1.0]]])
    weights /= weights.sum(axis=2, keepdims=True)
    reach = np.bincount(slots[:, 0], minlength=topics)[shelves.topic] * suits.mean(axis=0)
    return Planted(
        users=user_ids,
        items=item_ids,
        departments=shelves.frame["category"].gather(np.unique(shelves.topic, return_index=True)[1]),
        slots=slots,
        weights=weights,
        any_weight=_ANY_WEIGHT,
        style=random.integers(0, styles, len(user_ids)),
        topic=shelves.topic,
        within=suits / of_topic[:, shelves.topic],
        popularity=reach / reach.sum(),
    )


def _activity(interactions: int, users: int, most: int, random: np.random.Generator) -> np.ndarray:
    """How many interactions each user has: lognormal, at most `most`, exactly so many in all. (U,) int64"""
    wanted = random.lognormal(0.0, 0.9, users)
    counts = np.minimum(np.floor(wanted * (interactions / wanted.sum())), most).astype(np.int64)
    while (missing := interactions - int(counts.sum())) > 0:
        lucky = random.integers(0, users, missing)
        counts = np.minimum(counts + np.bincount(lucky, minlength=users), most)
    return counts


@dataclass(frozen=True)
class _Urns:
    """Inverse distribution functions of all (style, department) pairs end to end, and of popularity alone."""

    cumulative: np.ndarray
    item: np.ndarray
    topics: int
    any_cumulative: np.ndarray

    @classmethod
    def of(cls, planted: Planted) -> _Urns:
        topics = len(planted.departments)
        by_topic = np.argsort(planted.topic, kind="stable")
        ends = np.cumsum(np.bincount(planted.topic, minlength=topics))
        sums = np.cumsum(planted.within[:, by_topic], axis=1)  # (styles, N)
        sums -= np.repeat(
            np.concatenate([np.zeros((len(sums), 1)), sums[:, ends[:-1] - 1]], axis=1), np.diff(ends, prepend=0), axis=1
        )
        urn = np.arange(len(sums))[:, None] * topics + planted.topic[by_topic]
        cumulative = urn + np.minimum(sums, 1.0)
        cumulative[:, ends - 1] = urn[:, ends - 1] + 1.0  # whatever rounding made of the last one
        return cls(cumulative.ravel(), by_topic, topics, np.cumsum(planted.popularity))

    def draw(
        self, style: np.ndarray, topic: np.ndarray, any_item: np.ndarray, random: np.random.Generator
    ) -> np.ndarray:
        """An item for each pick. (m,) -> (m,)"""
        urn = style * self.topics + topic
        chance = np.minimum(urn + random.random(len(urn)), np.nextafter(urn + 1.0, 0.0))
        picked = self.item[np.searchsorted(self.cumulative, chance, side="right") % len(self.item)]
        among_all = random.random(int(any_item.sum())) * self.any_cumulative[-1]
        picked[any_item] = np.searchsorted(self.any_cumulative, among_all, side="right")
        return picked


def _draw(planted: Planted, counts: np.ndarray, random: np.random.Generator) -> pl.DataFrame:
    """All interactions, as they happened."""
    urns = _Urns.of(planted)
    parts = []
    for start in range(0, len(counts), _CHUNK):
        users = np.arange(start, min(start + _CHUNK, len(counts)))
        parts.append(_draw_users(planted, urns, users, counts[users], random))
    user, item, when = (np.concatenate(column) for column in zip(*parts, strict=True))
    # everybody joins some day of the first year and stays until the end
    joined = random.random(len(counts)) * 0.5
    seconds = ((joined[user] + when * (1 - joined[user])) * _SPAN).astype(np.int64)
    order = np.argsort(seconds, kind="stable")
    return pl.DataFrame(
        {
            "user_id": planted.users.gather(user[order]),
            "item_id": planted.items.gather(item[order]),
            "timestamp": seconds[order] + _BEGIN,
        }
    )


def _draw_users(
    planted: Planted, urns: _Urns, users: np.ndarray, counts: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, item and time (0 to 1) of the interactions of some users; whatever is drawn twice is drawn again."""
    n = len(planted.items)
    pairs, times = np.empty(0, dtype=np.int64), np.empty(0)
    missing = counts
    while missing.sum():
        user = np.repeat(users, missing)
        when = random.random(len(user))
        weights = planted.weights[:, user]  # (2, m, J)
        bounds = np.cumsum((1 - when[:, None]) * weights[0] + when[:, None] * weights[1], axis=1)
        slot = np.minimum((random.random(len(user))[:, None] > bounds).sum(axis=1), bounds.shape[1] - 1)
        any_item = random.random(len(user)) < planted.any_weight
        item = urns.draw(planted.style[user], planted.slots[user, slot], any_item, random)
        pairs, times = np.concatenate([pairs, user * n + item]), np.concatenate([times, when])
        pairs, first = np.unique(pairs, return_index=True)
        times = times[first]
        missing = counts - np.bincount(pairs // n - users[0], minlength=len(users))
    return pairs // n, pairs % n, times
