"""Softmax losses of retrieval: which of all items did the user take?

All have one signature, `loss(queries, targets, encode_items, n_items, item_frequency, generator)`, and return the mean
over targets of the cross-entropy in nats. They differ in the items that the target is told from: the whole catalogue,
the other targets of the batch, or those and items drawn uniformly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from features.batches import Jagged
from features.errors import InputError

#: item rows to item vectors: (M,) int64 to (M, D)
EncodeItems = Callable[[Tensor], Tensor]

#: the logit of what is no candidate: finite, because logsumexp over nothing but -inf has NaN as its gradient
_NO_CANDIDATE = -1e30


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
    ) -> Tensor:
        """The mean over targets of the cross-entropy in nats; 0 without targets.

        Args:
            queries: User vectors. (B, D)
            targets: The item rows that each user's vector should find, none of them unknown. (B rows, T values)
            encode_items: Gives the vectors of item rows, with their gradient; it is called once.
            n_items: N
            item_frequency: How often each item occurs in training. (N,)
            generator: Where sampled items are drawn from, on the queries' device.
            others: Items that each user is known to have taken besides. They are no candidates: serving removes them
                from the ranking, so scoring them down would be wasted, and wrong. (B rows)
        """
        ...


@dataclass(frozen=True)
class FullSoftmax:
    """Softmax over the whole catalogue: nothing is sampled, so nothing needs correcting.

    Args:
        temperature: Divides the scores.
        items_per_chunk: Logits of at most so many items are held at a time, and computed again for the gradient; None
            holds all B x N. The N item vectors are held in either case.
        hide_positives: Whether a target is told only from what its user has not taken, and not from the user's other
            targets as well.

    Example:
        >>> table = torch.eye(3)
        >>> targets = Jagged(torch.tensor([0, 2]), torch.tensor([2]))
        >>> FullSoftmax()(torch.zeros(1, 3), targets, table.__getitem__, 3, torch.ones(3))
        tensor(1.0986)
    """

    temperature: float = 1.0
    items_per_chunk: int | None = None
    hide_positives: bool = True

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
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
    ) -> Tensor:
        """See `Loss`; the frequencies and the generator are not used."""
        # Once, and outside the checkpoints: an optimiser that steps inside the backward pass, as TorchRec's fused ones
        # do, would have changed the tables before a second encoding.
        vectors = encode_items(torch.arange(n_items, device=queries.device))  # (N, D)
        users = targets.row_of_value
        hidden = [targets] if self.hide_positives else []
        hidden += [others] if others is not None else []
        hidden_users = torch.cat([users[:0], *(one.row_of_value for one in hidden)])
        hidden_rows = torch.cat([users[:0], *(one.values for one in hidden)])
        if self.items_per_chunk is None or self.items_per_chunk >= n_items:
            logits = _logits(queries, vectors, self.temperature)  # (B, N)
            positive = logits[users, targets.values]  # (T,)
            total = _log_total(logits, hidden_users, hidden_rows)  # (B,)
        else:
            positive = _pair_logits(queries[users], vectors[targets.values], self.temperature)
            totals = []
            for start in range(0, n_items, self.items_per_chunk):
                chunk = vectors[start : start + self.items_per_chunk]
                here = (hidden_rows >= start) & (hidden_rows < start + len(chunk))
                pairs = hidden_users[here], hidden_rows[here] - start
                totals.append(
                    checkpoint(_chunk_total, queries, chunk, self.temperature, *pairs, use_reentrant=False)
                )
            total = torch.stack(totals, dim=1).logsumexp(dim=1)
        if self.hide_positives:
            losses = softplus(total[users] - positive)  # = -log(e^positive / (e^positive + e^total))
        else:
            losses = total[users] - positive
        return losses.sum() / max(len(users), 1)


@dataclass(frozen=True)
class InBatchSoftmax:
    """Sampled softmax over the batch's other targets.

    A target's logit is its score. A candidate that stands c times among the samples has its score + log(c / expected c):
    each candidate counts for as much as the catalogue holds of its kind, so that the sum over candidates estimates that
    over the catalogue (importance sampling), and the gradient that of the full softmax. c is expected to be (targets of
    other users) x (the item's share of the training data): the logQ correction of Yi et al. (RecSys 2019,
    "Sampling-bias-corrected neural modeling for large corpus item recommendations").

    A user's own targets are no sample for that user, and an occurrence of the target among the candidates (an accidental
    hit) is not one either.

    Args:
        temperature: Divides the scores, before the correction.
        logq: Whether to correct; without, popular items are pushed down for being frequent.
        correct_target: Subtracts log(expected c) from the target's logit, too, as the paper prints it. That is not an
            estimate of the full softmax: frequent targets must win by a margin.
        hide_positives: Whether the user's other targets are hidden from the candidates, too. Otherwise they are
            candidates where others have them or they are drawn, at the cost of T x M instead of B x M logits.
    """

    temperature: float = 1.0
    logq: bool = True
    correct_target: bool = False
    hide_positives: bool = True

    #: how many items are drawn besides; see `MixedSoftmax`
    n_uniform: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def __call__(
        self,
        queries: Tensor,
        targets: Jagged,
        encode_items: EncodeItems,
        n_items: int,
        item_frequency: Tensor,
        generator: torch.Generator | None = None,
        others: Jagged | None = None,
    ) -> Tensor:
        """See `Loss`."""
        device = queries.device
        if not targets.values.numel():  # still a function of both towers, as distributed training needs
            return 0 * (queries.sum() + encode_items(torch.zeros(1, dtype=torch.int64, device=device)).sum())
        drawn = torch.randint(n_items, (self.n_uniform,), generator=generator, device=device)
        rows, columns, counts = torch.cat([targets.values, drawn]).unique(return_inverse=True, return_counts=True)
        users, columns = targets.row_of_value, columns[: len(targets.values)]  # (T,)
        logits = _logits(queries, encode_items(rows), self.temperature)  # (B, M), M different items
        positive = logits[users, columns]  # (T,)

        own = torch.zeros_like(logits).index_put_((users, columns), logits.new_ones(()), accumulate=True)
        found = counts - own  # as candidates, by each user (B, M)
        correction = found.log()
        if self.logq:
            n_others = len(users) - targets.lengths  # (B,)
            # a target that training does not count, counts as seen once: its logit must stay finite
            share = item_frequency[rows].clamp(min=1) / item_frequency.sum().clamp(min=1)  # (M,)
            expected = (n_others[:, None] * share + self.n_uniform / n_items).log().to(logits.dtype)  # (B, M)
            correction = correction - expected
            if self.correct_target:
                # a batch of one user expects nothing of itself, and has nothing to correct
                positive = positive - expected[users, columns].clamp(min=_NO_CANDIDATE)
        hidden = (own > 0) | (found == 0) if self.hide_positives else found == 0
        if others is not None:
            at = torch.searchsorted(rows, others.values).clamp(max=len(rows) - 1)
            taken = rows[at] == others.values
            hidden[others.row_of_value[taken], at[taken]] = True
        negative = torch.where(hidden, _NO_CANDIDATE, logits + correction)
        if self.hide_positives:
            total = negative.logsumexp(dim=1)[users]
        else:
            total = negative[users].scatter(1, columns[:, None], _NO_CANDIDATE).logsumexp(dim=1)
        return softplus(total - positive).mean()  # = -log(e^positive / (e^positive + e^total))


@dataclass(frozen=True)
class MixedSoftmax(InBatchSoftmax):
    """Sampled softmax over the batch's other targets and items drawn uniformly from the catalogue.

    The draws are what tells rare items from each other (Yang et al., WWW 2020, "Mixed negative sampling for learning
    two-tower neural networks in recommendations"). An item is expected (targets of other users) x (its share of the
    training data) + `n_uniform` / N times; else as `InBatchSoftmax`.

    Args:
        temperature: Divides the scores, before the correction.
        logq: Whether to correct.
        correct_target: Corrects the target's logit, too.
        hide_positives: Whether a user's other targets are hidden from the candidates, too.
        n_uniform: How many items are drawn, with replacement, for the whole batch.
    """

    n_uniform: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_uniform < 0:
            raise InputError(f"mixed's n_uniform is at least 0, got {self.n_uniform}")


_LOSSES = {"full-softmax": FullSoftmax, "in-batch": InBatchSoftmax, "mixed": MixedSoftmax}


def make_loss(name: str, **settings: object) -> Loss:
    """A loss by its name.

    Args:
        name: "full-softmax", "in-batch" or "mixed".
        settings: What its class takes.

    Raises:
        InputError: There is no such loss, it has no such setting, or a setting is out of range.

    Example:
        >>> make_loss("mixed", temperature=0.1).n_uniform
        1024
    """
    if name not in _LOSSES:
        raise InputError(f"there is no loss {name!r}, only {', '.join(_LOSSES)}")
    known = [one.name for one in fields(_LOSSES[name])]
    unknown = [setting for setting in settings if setting not in known]
    if unknown:
        raise InputError(f"loss {name!r} has no setting {unknown[0]!r}, only {', '.join(known)}")
    return _LOSSES[name](**settings)


def _check_temperature(temperature: float) -> None:
    if not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
        raise InputError(f"a loss's temperature is a number above 0, got {temperature!r}")


def _logits(queries: Tensor, vectors: Tensor, temperature: float) -> Tensor:
    """Scores in float32 at least, even under autocast: bfloat16 has steps of 1/16 at a logit of 20. (B, M)."""
    exact = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        return queries.to(exact) @ vectors.to(exact).T / temperature


def _pair_logits(queries: Tensor, vectors: Tensor, temperature: float) -> Tensor:
    """Scores of matching rows, in float32 at least. (T, D), (T, D) -> (T,)"""
    exact = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        return (queries.to(exact) * vectors.to(exact)).sum(dim=1) / temperature


def _log_total(logits: Tensor, hidden_users: Tensor, hidden_columns: Tensor) -> Tensor:
    """The log of the summed exponentials of what is not hidden. (B, M) -> (B,)"""
    if len(hidden_users):
        logits = logits.index_put((hidden_users, hidden_columns), logits.new_tensor(_NO_CANDIDATE))
    return logits.logsumexp(dim=1)


def _chunk_total(
    queries: Tensor, vectors: Tensor, temperature: float, hidden_users: Tensor, hidden_columns: Tensor
) -> Tensor:
    """(B,)"""
    return _log_total(_logits(queries, vectors, temperature), hidden_users, hidden_columns)
