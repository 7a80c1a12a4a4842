"""Full ranking: every user against the whole catalogue, in chunks, in an order that does not depend on the machine.

The order is score descending, then item row ascending. `torch.topk` promises nothing about equal scores, and the
differences show: a popularity baseline is mostly ties, and two devices would give two figures for the same model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from features.batches import Jagged
from features.errors import InputError
from recsys.target_ranks import TargetRanks

#: scores of some users (a slice of B) for some items (a slice of N): fresh, for they are written to. (b, n) float32
Scorer = Callable[[slice, slice], Tensor]


@dataclass(frozen=True)
class Chunks:
    """How much is ranked at a time; nothing larger than `users` x `items` scores (and a few masks) is ever held.

    Args:
        users: Users of a chunk.
        items: Items of a chunk. With more than one chunk of items, ranks of targets cost a second pass over them.
    """

    users: int = 1024
    items: int = 16_384

    def __post_init__(self) -> None:
        if self.users < 1 or self.items < 1:
            raise InputError(f"chunks of {self.users} users x {self.items} items: both must be at least 1")


@dataclass(frozen=True)
class Ranking:
    """What a full ranking finds.

    Args:
        rows: Each user's best items, best first; -1 where fewer than K are left. (B, K) int64
        scores: Their scores, -inf where the row is -1. (B, K)
        ranks: The rank of each target, from 1; `UNRANKED` where it was removed. None without targets. (T,) int64
        ties: How many other items share each target's score; those with a lower row stand before it. (T,) int64
    """

    rows: Tensor
    scores: Tensor
    ranks: Tensor | None = None
    ties: Tensor | None = None


def top_k(
    queries: Tensor,
    items: Tensor,
    k: int,
    seen: Jagged | None = None,
    targets: Jagged | None = None,
    chunks: Chunks = Chunks(),
) -> Ranking:
    """The K items with the highest dot product for each query, and the ranks of its targets, from one ranking.

    Args:
        queries: User vectors. (B, D)
        items: Item vectors. (N, D)
        k: How many items are asked for; more than N is fine, the rest is padding.
        seen: Item rows that are removed from each user's ranking; -1 is ignored. (B rows)
        targets: Item rows whose rank is wanted; -1 is never found. (B rows, T values)
        chunks: How much is ranked at a time.

    Raises:
        InputError: As `full_ranking`.

    Example:
        >>> ranking = top_k(torch.tensor([[1.0]]), torch.tensor([[0.2], [0.9], [0.9]]), k=2)
        >>> ranking.rows.tolist()
        [[1, 2]]
    """
    return full_ranking(dot_product(queries, items), len(queries), len(items), k, seen, targets, chunks)


def dot_product(queries: Tensor, items: Tensor) -> Scorer:
    """Scores by dot product in float32, whatever the vectors' type and even under autocast.

    In bfloat16 a catalogue of thousands of items has only some hundreds of different scores: the ranking is ties.
    """
    queries, items = queries.detach().float(), items.detach().float()

    def score(users: slice, rows: slice) -> Tensor:
        with torch.autocast(queries.device.type, enabled=False):
            return queries[users] @ items[rows].T

    return score


@torch.no_grad()
def full_ranking(
    scorer: Scorer,
    n_users: int,
    n_items: int,
    k: int,
    seen: Jagged | None = None,
    targets: Jagged | None = None,
    chunks: Chunks = Chunks(),
) -> Ranking:
    """Ranks the whole catalogue for every user; `top_k` for scores that are not dot products.

    Args:
        scorer: Gives the scores of a chunk.
        n_users: B
        n_items: N
        k: How many items are asked for.
        seen: Item rows that are removed from each user's ranking. (B rows)
        targets: Item rows whose rank is wanted. (B rows, T values)
        chunks: How much is ranked at a time.

    Raises:
        InputError: k is below 1, a score is NaN, `seen` or `targets` have not one row a user or name no item.
    """
    if k < 1:
        raise InputError(f"k is {k}: ask for at least one item")
    if n_items < 1:
        raise InputError("the catalogue has no items to rank")
    firsts = range(0, max(n_users, 1), chunks.users)
    all_seen = _parts(seen, "seen", n_users, n_items, firsts)
    all_targets = _parts(targets, "targets", n_users, n_items, firsts)
    parts = []
    for first, part_seen, part_targets in zip(firsts, all_seen, all_targets, strict=True):
        users = slice(first, min(first + chunks.users, n_users))
        parts.append(_rank_part(_Blocks(scorer, users, n_items, chunks.items, part_seen), k, part_targets))
    rows, scores, ranks, ties = zip(*parts, strict=True)
    known = targets is not None
    return Ranking(
        torch.cat(rows), torch.cat(scores), torch.cat(ranks) if known else None, torch.cat(ties) if known else None
    )


@dataclass(frozen=True)
class _Blocks:
    """The scores of a chunk of users, a chunk of items after the other; -inf where seen."""

    scorer: Scorer
    users: slice
    n_items: int
    size: int
    seen: tuple[Tensor, Tensor] | None

    def __len__(self) -> int:
        return math.ceil(self.n_items / self.size)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, self.n_items, self.size):
            block = self.scorer(self.users, slice(start, min(start + self.size, self.n_items))).float()  # (b, n)
            if self.seen is not None:
                users, rows = (one.to(block.device) for one in self.seen)
                here = (rows >= start) & (rows < start + block.shape[1])
                block[users[here], rows[here] - start] = -torch.inf
            yield start, block


#: the fields of `Ranking`
_Part = tuple[Tensor, Tensor, Tensor | None, Tensor | None]


def _rank_part(blocks: _Blocks, k: int, targets: tuple[Tensor, Tensor] | None) -> _Part:
    """The fields of `Ranking`, of a chunk of users."""
    wanted, found = None, None
    for start, block in blocks:
        if wanted is None and targets is not None:
            wanted = TargetRanks(*(one.to(block.device) for one in targets))
        found = _merged(found, _block_top_k(block, start, k), k)
        if wanted is not None:
            wanted.read_scores(start, block)
            if len(blocks) == 1:
                wanted.count(start, block)
    assert found is not None  # there is an item
    scores, rows = found
    if wanted is None:
        return rows, scores, None, None
    if len(blocks) > 1:  # a second pass, because only now the scores of all targets are known
        for start, block in blocks:
            wanted.count(start, block)
    return rows, scores, wanted.ranks(), wanted.ties


def _block_top_k(block: Tensor, start: int, k: int) -> tuple[Tensor, Tensor]:
    """The best k of a block in exact order, padded to k: scores and item rows. (b, k) each."""
    n = block.shape[1]
    if n <= k:
        scores, columns = block.sort(dim=1, descending=True, stable=True)
    else:
        # one more than asked for: where it equals the last, topk chose freely among equals
        scores, columns = block.topk(k + 1, dim=1)
        last = scores[:, k - 1]
        open_edge = (last == scores[:, k]) & (last > -torch.inf)
        scores, columns = scores[:, :k].contiguous(), columns[:, :k].contiguous()
        if open_edge.any():
            users = open_edge.nonzero()[:, 0]
            edge = last[users, None]
            above = scores[users] > edge  # sorted, so these lead each row
            level = block[users] == edge
            place = level.cumsum(1, dtype=torch.int32)  # the first equals are those with the lowest rows
            level &= place <= k - above.sum(1, keepdim=True)
            chosen = columns[users]
            chosen[~above] = level.nonzero()[:, 1]
            columns[users] = chosen
        if (scores[:, 1:] == scores[:, :-1]).any():
            columns, order = columns.sort(dim=1)
            scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
            columns = columns.gather(1, order)
    if scores[:, :1].isnan().any():  # both kernels put NaN first
        raise InputError("the scores hold NaN, so there is no ranking: has the model diverged?")
    rows = torch.where(scores == -torch.inf, -1, columns + start)
    missing = (0, k - scores.shape[1])
    return (
        torch.nn.functional.pad(scores, missing, value=-torch.inf),
        torch.nn.functional.pad(rows, missing, value=-1),
    )


def _merged(found: tuple[Tensor, Tensor] | None, more: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """The best k of two; every row of `found` is below every row of `more`, so a stable sort keeps the order exact."""
    if found is None:
        return more
    scores, order = torch.cat([found[0], more[0]], dim=1).sort(dim=1, descending=True, stable=True)
    return scores[:, :k], torch.cat([found[1], more[1]], dim=1).gather(1, order[:, :k])


def _parts(
    jagged: Jagged | None, name: str, n_users: int, n_items: int, firsts: range
) -> list[tuple[Tensor, Tensor] | None]:
    """For each chunk of users its values, as (user within the chunk, item row)."""
    if jagged is None:
        return [None] * len(firsts)
    if len(jagged) != n_users:
        raise InputError(f"{name} has {len(jagged)} rows for {n_users} users")
    users, rows = jagged.row_of_value, jagged.values
    if rows.numel() and (rows.max() >= n_items or rows.min() < -1):
        raise InputError(f"{name} has item rows from {int(rows.min())} to {int(rows.max())}, of {n_items} items")
    cuts = torch.searchsorted(users, torch.tensor([*firsts, n_users], device=users.device)).tolist()
    return [
        (users[start:end] - first, rows[start:end])
        for first, start, end in zip(firsts, cuts[:-1], cuts[1:], strict=True)
    ]
