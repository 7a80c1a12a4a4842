"""Clusters of records from scored pairs: three ways, which differ in how far they trust a single pair.

*components* (connected components) trusts every one: a chain of pairs, each likely, makes one entity of things that
have nothing to do with each other. *centre* (Haveliwala, Gionis and Indyk, 2000; Hassanzadeh et al., PVLDB 2(1), 2009)
joins a record only to a centre that it is paired with itself. *correlation* (Bansal, Blum and Chawla, 2004) weighs all
pairs of two clusters before it joins them, those that are no candidates as unlikely ones; greedily, the best sum first
(Keuper et al., ICCV 2015, 'greedy additive edge contraction').

What a connected component becomes depends on its own pairs alone, and never on the order in which they come.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components as _components

from features.errors import InputError

ClusterKind = Literal["components", "centre", "correlation"]
CLUSTERS = ("components", "centre", "correlation")

#: log-odds of a pair that no blocker has found, or no matcher has been asked about
ABSENT = -1.0


@dataclass(frozen=True, eq=False)
class Sources:
    """Which source each record is of, and what that says of two records of one source.

    Args:
        of: A number a record. (n,)
        duplicates: Whether two records of one source may be the same. Where not, they are never compared, so that it
            says nothing that they are no pair.
        one_to_one: Whether no entity has two records of one source.
    """

    of: np.ndarray
    duplicates: bool = False
    one_to_one: bool = False


def clusters(
    n: int,
    rows: tuple[np.ndarray, np.ndarray],
    log_odds: np.ndarray,
    kind: ClusterKind = "correlation",
    sources: Sources | None = None,
) -> np.ndarray:
    """Which records are one entity.

    Args:
        n: Records.
        rows: Of both records of each pair. (m,), (m,)
        log_odds: That they are the same, less the threshold: above 0 they likely are. (m,)
        kind: "components", "centre" or "correlation". One to one, pairs are joined the likeliest first whatever the
            kind, but for those that would bring two records of one source together.
        sources: Of the records; of one source with duplicates, where not given.

    Returns:
        A number a record, the same for those of one entity: the lowest row among them. (n,) int64

    Raises:
        InputError: There is no such kind.

    Example:
        >>> chain = np.array([0, 1, 2]), np.array([1, 2, 3])
        >>> likely = np.array([3.0, 0.5, 3.0])
        >>> clusters(4, chain, likely, "components").tolist(), clusters(4, chain, likely, "correlation").tolist()
        ([0, 0, 0, 0], [0, 0, 2, 2])
    """
    if kind not in CLUSTERS:
        raise InputError(f"clusters are made by {', '.join(CLUSTERS)}, not by {kind!r}")
    one, other = (np.asarray(some, np.int64) for some in rows)
    log_odds, sources = np.asarray(log_odds, np.float64), sources or Sources(np.zeros(n, np.int64), duplicates=True)
    likely = log_odds > 0
    whole = _lowest(components(n, one[likely], other[likely]))
    if kind == "components" and not sources.one_to_one:
        return whole
    inside = whole[one] == whole[other]  # an unlikely pair between two components keeps apart what is apart
    told = n, one[inside], other[inside], log_odds[inside]
    if sources.one_to_one:
        return _lowest(_without_two(*told, sources.of))
    return _lowest(_centre(*told) if kind == "centre" else _correlation(*told, sources))


def components(n: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Connected components, numbered from 0. (n,)"""
    return _components(coo_matrix((np.ones(len(one), bool), (one, other)), shape=(n, n)), directed=False)[1]


def _likeliest_first(one: np.ndarray, other: np.ndarray, log_odds: np.ndarray) -> Iterator[tuple[int, int]]:
    """Likely pairs, the lower row first."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((high, low, -log_odds))
    order = order[log_odds[order] > 0]
    return zip(low[order].tolist(), high[order].tolist(), strict=True)


def _centre(n: int, one: np.ndarray, other: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """The likeliest pair first: of two free records the one with more to gain becomes a centre, and takes free ones."""
    likely = log_odds > 0
    worth = np.bincount(one[likely], log_odds[likely], n) + np.bincount(other[likely], log_odds[likely], n)
    of = np.full(n, -1)
    for a, b in _likeliest_first(one, other, log_odds):
        if of[a] < 0 and of[b] < 0:
            of[a] = of[b] = b if worth[b] > worth[a] else a
        elif of[a] == a and of[b] < 0:
            of[b] = a
        elif of[b] == b and of[a] < 0:
            of[a] = b
    return np.where(of < 0, np.arange(n), of)


def _without_two(n: int, one: np.ndarray, other: np.ndarray, log_odds: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Joins the likeliest pair first, unless both sides have a record of one source."""
    of = np.arange(n)
    members: dict[int, list[int]] = {}
    for a, b in _likeliest_first(one, other, log_odds):
        a, b = sorted((int(of[a]), int(of[b])))
        if a == b:
            continue
        mine, others = members.get(a, [a]), members.get(b, [b])
        if not set(source[mine].tolist()) & set(source[others].tolist()):
            members[a] = mine + others
            members.pop(b, None)
            of[others] = a
    return of


def _correlation(n: int, one: np.ndarray, other: np.ndarray, log_odds: np.ndarray, sources: Sources) -> np.ndarray:
    """Joins the two clusters whose pairs say most for it, while they say anything for it."""
    #: of each cluster its neighbours, and the sum and number of the pairs between both
    between: dict[int, dict[int, tuple[float, int]]] = defaultdict(dict)
    low, high = np.minimum(one, other).tolist(), np.maximum(one, other).tolist()
    for a, b, odds in zip(low, high, log_odds.tolist(), strict=True):
        if a != b:
            total, count = between[a].get(b, (0.0, 0))
            between[a][b] = between[b][a] = (total + odds, count + 1)
    #: of each cluster how many records of each source it has
    counts = {row: Counter({int(sources.of[row]): 1}) for row in between}
    size, of = dict.fromkeys(between, 1), np.arange(n)

    def worth(a: int, b: int) -> float:
        total, count = between[a][b]
        pairs = size[a] * size[b]
        if not sources.duplicates:
            few, many = sorted((counts[a], counts[b]), key=len)
            pairs -= sum(number * many[name] for name, number in few.items())
        return total + ABSENT * max(pairs - count, 0)

    heap = [(-worth(a, b), a, b) for a in between for b in between[a] if a < b]
    heapq.heapify(heap)
    while heap:
        value, a, b = heapq.heappop(heap)
        if value >= 0:
            break
        if b not in between.get(a, ()) or worth(a, b) != -value:
            continue  # joined to another meanwhile, or worth something else now
        for c, (total, count) in between.pop(b).items():
            del between[c][b]
            if c != a:
                known = between[a].get(c, (0.0, 0))
                between[a][c] = between[c][a] = (known[0] + total, known[1] + count)
        size[a] += size.pop(b)
        counts[a] += counts.pop(b)
        of[b] = a  # a is the lower of both, always
        for c in between[a]:
            lower, higher = (a, c) if a < c else (c, a)
            heapq.heappush(heap, (-worth(lower, higher), lower, higher))
    while (of[of] != of).any():
        of = of[of]
    return of


def _lowest(labels: np.ndarray) -> np.ndarray:
    """The lowest row of each record's cluster. (n,)"""
    first = np.full(int(labels.max(initial=-1)) + 1, len(labels))
    np.minimum.at(first, labels, np.arange(len(labels)))
    return first[labels]
