"""Softmax over the whole catalogue, and what all softmax losses share: their signature and their logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from features.batches import Jagged
from features.errors import InputError
from recsys.losses.linear_cross_entropy import linear_cross_entropy

#: item rows to item vectors: (M,) int64 to (M, D)
EncodeItems = Callable[[Tensor], Tensor]

#: the logit of what is no candidate: finite, because logsumexp over nothing but -inf has NaN as its gradient
NO_CANDIDATE = -1e30


class Loss(Protocol):
    """What every loss here is called with."""

    def __call__(
        self,
        queries: Tensor,
        targets: Jagged,
        encode_items: EncodeItems,
        n_items: int,
        item_frequency: Tensor,
        generator: torch.Generator | None = None,
        others: Jagged | None = None,
        batch_items: Tensor | None = None,
        batch_start: int = 0,
    ) -> Tensor:
        """The mean over targets of the cross-entropy in nats; 0 without targets.

        That of a softmax, or, of the binary losses, of k + 1 yes-or-no questions a target, divided by k + 1. So figures
        of different losses do not compare, and a weight beside one means something else beside another.

        Args:
            queries: User vectors. (B, D)
            targets: The item rows that each user's vector should find, none of them unknown. (B rows, T values)
            encode_items: Gives the vectors of item rows, with their gradient; it is called once.
            n_items: N
            item_frequency: How often each item occurs in training. (N,)
            generator: Where sampled items are drawn from, on the queries' device.
            others: Items that each user is known to have taken besides. They are no candidates: serving removes them
                from the ranking, so scoring them down would be wasted, and wrong. (B rows)
            batch_items: Where several processes divide a batch, the target rows of all of them, this one's included:
                a target is told from those of the whole batch.
            batch_start: Where this process's targets begin among them.
        """
        ...


@dataclass(frozen=True)
class FullSoftmax:
    """Softmax over the whole catalogue: nothing is sampled, so nothing needs correcting.

    Where nothing is to be hidden, as in next-item training, whose places have one target each, it is
    `linear_cross_entropy`: the B x N logits never exist at once, whatever `items_per_chunk` is.

    Args:
        temperature: Divides the scores.
        items_per_chunk: Logits of at most so many items are held at a time, and computed again for the gradient; None
            holds those of all N. The N item vectors are held in either case.
        hide_positives: Whether a target is told only from what its user has not taken, and not from the user's other
            targets as well.

    Example:
        >>> table = torch.eye(3)
        >>> targets = Jagged(torch.tensor([0, 2]), torch.tensor([2]))
        >>> FullSoftmax()(torch.zeros(1, 3), targets, table.__getitem__, 3, torch.ones(3))
        tensor(0.6931)
    """

    temperature: float = 1.0
    items_per_chunk: int | None = 65_536
    hide_positives: bool = True

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if self.items_per_chunk is not None and self.items_per_chunk < 1:
            raise InputError(f"full-softmax's items_per_chunk is at least 1, got {self.items_per_chunk}")

    def __call__(
        self,
        queries: Tensor,
        targets: Jagged,
        encode_items: EncodeItems,
        n_items: int,
        item_frequency: Tensor,
        generator: torch.Generator | None = None,
        others: Jagged | None = None,
        batch_items: Tensor | None = None,
        batch_start: int = 0,
    ) -> Tensor:
        """See `Loss`; what the batch holds, the frequencies and the generator are not used."""
        # Once, and outside the checkpoints: an optimiser that steps inside the backward pass, as TorchRec's fused ones
        # do, would have changed the tables before a second encoding.
        vectors = encode_items(torch.arange(n_items, device=queries.device))  # (N, D)
        if (others is None or not others.values.numel()) and bool((targets.lengths <= 1).all()):
            # to hide the only target and to put it back again is to hide nothing
            if len(targets.values) < len(targets):
                queries = queries.index_select(0, targets.row_of_value)
            total = linear_cross_entropy(queries, vectors, targets.values, self.temperature, self.items_per_chunk)
            return total / max(len(targets.values), 1)
        users = targets.row_of_value
        hidden = self._hidden(targets, others, n_items)
        if self.items_per_chunk is None or self.items_per_chunk >= n_items:
            all_logits = logits(queries, vectors, self.temperature)  # (B, N)
            positive = all_logits[users, targets.values]  # (T,)
            total = _log_total(all_logits, *hidden)  # (B,)
        else:
            positive = pair_logits(queries[users], vectors[targets.values], self.temperature)
            totals = []
            for start in range(0, n_items, self.items_per_chunk):
                chunk = vectors[start : start + self.items_per_chunk]
                here = (hidden[1] >= start) & (hidden[1] < start + len(chunk))
                pairs = hidden[0][here], hidden[1][here] - start
                totals.append(checkpoint(_chunk_total, queries, chunk, self.temperature, *pairs, use_reentrant=False))
            total = torch.stack(totals, dim=1).logsumexp(dim=1)
        margin = total[users] - positive  # (T,)
        if self.hide_positives:
            margin = softplus(margin)  # puts the target itself back: log(e^positive + e^total) - positive
        return margin.sum() / max(len(users), 1)

    def _hidden(self, targets: Jagged, others: Jagged | None, n_items: int) -> tuple[Tensor, Tensor]:
        """(user, item row) of what is no candidate."""
        users, rows = targets.row_of_value, targets.values
        if others is None:
            return (users, rows) if self.hide_positives else (users[:0], rows[:0])
        other_users, other_rows = others.row_of_value, others.values
        hide = other_rows >= 0  # -1 would be the last item
        if self.hide_positives:
            return torch.cat([users, other_users[hide]]), torch.cat([rows, other_rows[hide]])
        # a target that the user has also taken before stays in the sum, or its loss had no lower bound
        hide &= ~torch.isin(other_users * n_items + other_rows, users * n_items + rows)
        return other_users[hide], other_rows[hide]


def check_temperature(temperature: float) -> None:
    """Refuses what cannot divide scores."""
    if not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
        raise InputError(f"a loss's temperature is a number above 0, got {temperature!r}")


def logits(queries: Tensor, vectors: Tensor, temperature: float) -> Tensor:
    """Scores in float32 at least, even under autocast: bfloat16 has steps of 1/16 at a logit of 20. (B, M)."""
    exact = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        return queries.to(exact) / temperature @ vectors.to(exact).T


def pair_logits(queries: Tensor, vectors: Tensor, temperature: float) -> Tensor:
    """Scores of matching rows, in float32 at least. (T, D), (T, D) -> (T,), or with more dimensions in front."""
    exact = torch.promote_types(queries.dtype, torch.float32)
    return (queries.to(exact) * vectors.to(exact)).sum(dim=-1) / temperature


def zero_loss(queries: Tensor, encode_items: EncodeItems) -> Tensor:
    """The loss of no targets: still a function of both towers, as distributed training needs."""
    return 0 * (queries.sum() + encode_items(torch.zeros(1, dtype=torch.int64, device=queries.device)).sum())


def _log_total(all_logits: Tensor, hidden_users: Tensor, hidden_columns: Tensor) -> Tensor:
    """The log of the summed exponentials of what is not hidden. (B, M) -> (B,)."""
    if len(hidden_users):
        all_logits = all_logits.index_put((hidden_users, hidden_columns), all_logits.new_tensor(NO_CANDIDATE))
    return all_logits.logsumexp(dim=1)


def _chunk_total(
    queries: Tensor, vectors: Tensor, temperature: float, hidden_users: Tensor, hidden_columns: Tensor
) -> Tensor:
    return _log_total(logits(queries, vectors, temperature), hidden_users, hidden_columns)
