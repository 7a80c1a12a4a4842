"""Ranking measures as sums and counts, so that batches and ranks add up to the figure of the whole.

Two forms, and both are means over what they count:

- a *query* is one (user, target) pair: `hr@k`, `ndcg@k` and `mrr@k` follow from the rank of that target alone (the
  user's other targets stay in the ranking, as in the leave-one-out protocol);
- a *user* has a set of targets: `recall@k` is the share of the set that is found, `user_ndcg@k` the discounted gain
  over that of the best possible list (Järvelin and Kekäläinen, 2002). Users without a target do not count.

`coverage@k` is the share of the catalogue that stands in at least one list. `queries`, `users`, `ties` (targets that
share their score with another item, so that only the row order ranks them) and `unreachable` (targets that were removed
as seen, and so cannot be found) are plain totals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from features.batches import Jagged
from features.errors import InputError
from recsys.target_ranks import UNRANKED
from recsys.top_k import Ranking

_TOTALS = ("queries", "users", "ties", "unreachable")


@dataclass(frozen=True)
class RankedTargets:
    """Where the targets of B users stand in their rankings, on the host: all that the measures need.

    Args:
        lists: The users' recommended item rows, best first; -1 pads. (B, K) int64
        users: Each target's user. (T,) int64
        items: Each target's item row. (T,) int64
        ranks: From 1; `UNRANKED` where the target is not in the ranking, or not in a list of K. (T,) int64
        ties: How many other items share each target's score; None where only the lists are known. (T,) int64
    """

    lists: Tensor
    users: Tensor
    items: Tensor
    ranks: Tensor
    ties: Tensor | None = None

    @classmethod
    def of(cls, ranking: Ranking, targets: Jagged) -> RankedTargets:
        """From a full ranking and the targets that it was given."""
        if ranking.ranks is None or ranking.ties is None:
            raise InputError("the ranking was made without targets")
        return cls(
            ranking.rows.cpu(),
            targets.row_of_value.cpu(),
            targets.values.cpu(),
            ranking.ranks.cpu(),
            ranking.ties.cpu(),
        )

    @classmethod
    def in_lists(cls, lists: Tensor, targets: Jagged) -> RankedTargets:
        """From lists alone, such as a service answers with: the same figures at every k up to their length.

        Args:
            lists: Item rows, best first; -1 pads. (B, K) int64
            targets: Item rows; -1 is never found. (B rows, T values)

        Example:
            >>> lists = torch.tensor([[4, 2, 7], [1, -1, -1]])
            >>> RankedTargets.in_lists(lists, Jagged(torch.tensor([7, 1]), torch.tensor([1, 1]))).ranks.tolist()
            [3, 1]
        """
        if len(lists) != len(targets):
            raise InputError(f"there are {len(lists)} lists for the targets of {len(targets)} users")
        lists, users, items = lists.cpu(), targets.row_of_value.cpu(), targets.values.cpu()
        user, place = (lists >= 0).nonzero(as_tuple=True)
        listed = lists[user, place]
        base = int(torch.cat([listed, items]).max()) + 1 if len(listed) + len(items) else 1
        keys, order = (user * base + listed).sort(stable=True)  # of an item listed twice the first place counts
        wanted = users * base + items
        at = torch.searchsorted(keys, wanted)
        ranks = torch.full_like(items, UNRANKED)
        found = ((at < len(keys)) & (items >= 0)).nonzero()[:, 0]
        found = found[keys[at[found]] == wanted[found]]
        ranks[found] = place[order[at[found]]] + 1
        return cls(lists, users, items, ranks)

    def __getitem__(self, mask: Tensor) -> RankedTargets:
        """Only the targets where the mask is true, among the same users. (T,) bool."""
        mask = mask.cpu()
        ties = None if self.ties is None else self.ties[mask]
        return RankedTargets(self.lists, self.users[mask], self.items[mask], self.ranks[mask], ties)


@dataclass(frozen=True)
class UserSums:
    """Each user's share in every figure, before it is added up: what a bootstrap resamples.

    Args:
        names: The M figures; those of a slice are called "slice/figure".
        sums: (B, M) float64
        counts: What a sum is divided by; for a total, nothing. (B, M) float64
    """

    names: tuple[str, ...]
    sums: Tensor
    counts: Tensor

    @classmethod
    def of(cls, ranked: RankedTargets, ks: Sequence[int], slices: Mapping[str, Tensor] | None = None) -> UserSums:
        """Measures a ranking at every k in `ks`, over all targets and over each slice of them.

        Args:
            ranked: Where the targets stand.
            ks: Lengths of list; none longer than the lists are.
            slices: Name to mask of targets, such as those that are cold items. The ranking stays that of the whole
                catalogue. (T,) bool each

        Raises:
            InputError: A k is below 1 or beyond the lists, or a mask has another length than the targets.
        """
        longest = ranked.lists.shape[1]
        if not ks or min(ks) < 1 or max(ks) > longest:
            raise InputError(f"measures at k = {list(ks)} need lists of that length, and these have {longest}")
        columns: dict[str, tuple[Tensor, Tensor]] = _measured(ranked, ks)
        for name, mask in (slices or {}).items():
            if mask.shape != ranked.ranks.shape:
                raise InputError(f"slice {name!r} has {mask.numel()} marks for {ranked.ranks.numel()} targets")
            columns |= {f"{name}/{figure}": both for figure, both in _measured(ranked[mask], ks).items()}
        sums, counts = zip(*columns.values(), strict=True)
        return cls(tuple(columns), torch.stack(sums, dim=1), torch.stack(counts, dim=1))


def _measured(ranked: RankedTargets, ks: Sequence[int]) -> dict[str, tuple[Tensor, Tensor]]:
    """Figure name to each user's (sum, count). (B,) each."""
    n_users = len(ranked.lists)
    users, ranks = ranked.users, ranked.ranks.double()

    def per_user(values: Tensor, of: Tensor = users) -> Tensor:
        return torch.zeros(n_users, dtype=torch.float64).index_add_(0, of, values.double())

    first = _first_occurrences(users, ranked.items)
    set_users, set_ranks = users[first], ranks[first]
    queries, set_sizes = per_user(torch.ones_like(ranks)), per_user(torch.ones_like(set_ranks), set_users)
    has_targets = (set_sizes > 0).double()
    gains = 1 / torch.log2(torch.arange(2, max(ks) + 2, dtype=torch.float64))
    ideal = torch.cat([torch.zeros(1, dtype=torch.float64), gains.cumsum(0)])  # by the number of targets
    columns = {}
    for k in ks:
        hits, set_hits = ranks <= k, set_ranks <= k
        gain = 1 / torch.log2(ranks + 1)
        columns[f"hr@{k}"] = per_user(hits), queries
        columns[f"ndcg@{k}"] = per_user(hits * gain), queries
        columns[f"mrr@{k}"] = per_user(hits / ranks), queries
        columns[f"recall@{k}"] = per_user(set_hits, set_users) / set_sizes.clamp(min=1), has_targets
        best = ideal[set_sizes.clamp(max=k).long()]
        set_gain = per_user(set_hits * gain[first], set_users)
        columns[f"user_ndcg@{k}"] = set_gain / torch.where(best > 0, best, 1), has_targets
    nothing = torch.zeros(n_users, dtype=torch.float64)
    columns["queries"], columns["users"] = (queries, nothing), (has_targets, nothing)
    if ranked.ties is not None:
        columns["ties"] = per_user(ranked.ties > 0), nothing
        columns["unreachable"] = per_user(ranked.ranks == UNRANKED), nothing
    return columns


def _first_occurrences(users: Tensor, items: Tensor) -> Tensor:
    """Which targets are left when each user's repeated ones are dropped: positions. (at most T,)."""
    if not len(items):
        return torch.zeros(0, dtype=torch.int64)
    keys, order = (users * (int(items.max()) + 2) + items + 1).sort(stable=True)
    fresh = torch.ones_like(keys, dtype=torch.bool)
    fresh[1:] = keys[1:] != keys[:-1]
    return order[fresh]


@dataclass(frozen=True)
class MetricSums:
    """Figures as sums and counts; `+` and `map` make those of several batches and ranks, which means cannot do.

    Args:
        names: The M figures.
        sums: (M,) float64
        counts: (M,) float64
        ks: Lengths of list.
        recommended: How often each item stands in a list of each length. (len(ks), N) int64

    Example:
        >>> targets = Jagged(torch.tensor([2, 3]), torch.tensor([1, 1]))
        >>> ranked = RankedTargets.in_lists(torch.tensor([[4, 2], [1, 0]]), targets)
        >>> batch = MetricSums.of(ranked, ks=[2], n_items=5)
        >>> (batch + batch).values()["hr@2"], batch.values()["coverage@2"]
        (0.5, 0.8)
    """

    names: tuple[str, ...]
    sums: Tensor
    counts: Tensor
    ks: tuple[int, ...]
    recommended: Tensor

    @classmethod
    def of(
        cls, ranked: RankedTargets, ks: Sequence[int], n_items: int, slices: Mapping[str, Tensor] | None = None
    ) -> MetricSums:
        """Measures a ranking; the arguments are those of `UserSums.of`, and the size of the catalogue."""
        users = UserSums.of(ranked, ks, slices)
        listed = [ranked.lists[:, :k].flatten() for k in ks]
        recommended = torch.stack([torch.bincount(rows[rows >= 0], minlength=n_items) for rows in listed])
        if recommended.shape[1] > n_items:
            raise InputError(f"the lists name item row {recommended.shape[1] - 1} of {n_items} items")
        return cls(users.names, users.sums.sum(0), users.counts.sum(0), tuple(ks), recommended)

    def __add__(self, other: MetricSums) -> MetricSums:
        if (self.names, self.ks, self.recommended.shape) != (other.names, other.ks, other.recommended.shape):
            raise InputError("only figures of the same measures, slices and catalogue can be added")
        return MetricSums(
            self.names,
            self.sums + other.sums,
            self.counts + other.counts,
            self.ks,
            self.recommended + other.recommended,
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> MetricSums:
        """With every tensor replaced by `function(tensor)`, such as its sum over all ranks."""
        return MetricSums(self.names, function(self.sums), function(self.counts), self.ks, function(self.recommended))

    def values(self) -> dict[str, float]:
        """Every figure by name; NaN where there was nothing to measure."""
        figures = {}
        for name, total, count in zip(self.names, self.sums.tolist(), self.counts.tolist(), strict=True):
            is_total = name.rpartition("/")[2] in _TOTALS
            figures[name] = total if is_total else total / count if count else math.nan
        shares = (self.recommended > 0).double().mean(1).tolist()
        return figures | {f"coverage@{k}": share for k, share in zip(self.ks, shares, strict=True)}
