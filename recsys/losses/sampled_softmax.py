"""Sampled softmax: a target is told from other users' targets, and from items drawn uniformly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from features.batches import Jagged
from features.errors import InputError
from recsys.losses.full_softmax import NO_CANDIDATE, EncodeItems, check_temperature, logits, zero_loss


@dataclass(frozen=True)
class InBatchSoftmax:
    """Sampled softmax over the batch's other targets.

    A target's logit is its score. A candidate that was found c times has its score + log(c / expected c), so that the
    sum over candidates estimates the sum over the catalogue (importance sampling) and the gradient that of the full
    softmax. What is expected is (targets of other users) x (the item's share of the training data): the logQ correction
    of Yi et al. (RecSys 2019, "Sampling-bias-corrected neural modeling for large corpus item recommendations").

    A user's own targets are no sample for that user, and an occurrence of the target among the candidates (an
    accidental hit) is not one either.

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

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def _drawn(self) -> int:
        """How many items are drawn besides; see `MixedSoftmax`."""
        return 0

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
        """See `Loss`."""
        device = queries.device
        batch_items = targets.values if batch_items is None else batch_items
        if not batch_items.numel():
            return zero_loss(queries, encode_items)
        drawn = torch.randint(n_items, (self._drawn,), generator=generator, device=device)
        rows, counts = torch.cat([batch_items, drawn]).unique(return_counts=True)
        users, columns = targets.row_of_value, torch.searchsorted(rows, targets.values)  # (T,)
        scores = logits(queries, encode_items(rows), self.temperature)  # (B, M), M different items
        positive = scores[users, columns]  # (T,)

        own = torch.zeros_like(scores).index_put_((users, columns), scores.new_ones(()), accumulate=True)
        found = counts - own  # as candidates, by each user (B, M)
        correction = found.log()
        if self.logq:
            n_others = len(batch_items) - targets.lengths  # (B,)
            # a target that training does not count, counts as seen once: its logit must stay finite
            share = item_frequency[rows].clamp(min=1) / item_frequency.sum().clamp(min=1)  # (M,)
            expected = (n_others[:, None] * share + self._drawn / n_items).log().to(scores.dtype)  # (B, M)
            correction = correction - expected
            if self.correct_target:
                # a batch of one user expects nothing of itself, and has nothing to correct
                positive = positive - expected[users, columns].clamp(min=NO_CANDIDATE)
        hidden = (own > 0) | (found == 0) if self.hide_positives else found == 0
        if others is not None:
            at = torch.searchsorted(rows, others.values).clamp(max=len(rows) - 1)
            taken = rows[at] == others.values
            hidden[others.row_of_value[taken], at[taken]] = True
        negative = torch.where(hidden, NO_CANDIDATE, scores + correction)
        if self.hide_positives:
            total = negative.logsumexp(dim=1)[users]
        else:
            total = negative[users].scatter(1, columns[:, None], NO_CANDIDATE).logsumexp(dim=1)
        return softplus(total - positive).sum() / max(1, len(users))  # = -log(e^positive / (e^positive + e^total))


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

    @property
    def _drawn(self) -> int:
        return self.n_uniform
