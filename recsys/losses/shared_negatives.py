"""Negatives drawn once for a whole batch, so that scoring them is one matrix product; and the softmax over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from features.batches import Jagged
from features.errors import InputError
from recsys.losses.full_softmax import NO_CANDIDATE, EncodeItems, check_temperature, logits, pair_logits, zero_loss


@dataclass(frozen=True)
class SampledSoftmax:
    """Softmax over each target and the same few drawn items for all: of these, which did the user take?

    There are two ways to use it. Uniform draws without correction, the default, are eSASRec's recipe (Tikhonovich et
    al., RecSys 2025, arXiv 2508.06450): the task is easier than telling the target from the whole catalogue, and the
    loss is lower than `FullSoftmax`'s. With `logq`, a negative's logit is its score - log(how often it is expected
    among the draws), so that the sum over draws estimates the sum over the catalogue (importance sampling; Bengio &
    Senécal, 2008), and the loss and its gradient those of `FullSoftmax`. Draws by popularity estimate it better where
    popular items have most of the probability; without correction they push popular items down for being drawn.

    An item that the query's user is known to have taken (its target above all: an accidental hit) is no negative there.

    Args:
        temperature: Divides the scores, before the correction.
        n_negatives: How many items are drawn, with replacement.
        draw: Each item alike ("uniform"), or as often as training has it ("popularity"; once, where it has it not).
        logq: Whether to correct.

    Example:
        >>> table = torch.zeros(10, 3)
        >>> targets = Jagged(torch.tensor([4]), torch.tensor([1]))
        >>> loss = SampledSoftmax(logq=True, n_negatives=5000)
        >>> loss(torch.ones(1, 3), targets, table.__getitem__, 10, torch.ones(10))
        tensor(2.3)
    """

    temperature: float = 1.0
    n_negatives: int = 256
    draw: Literal["uniform", "popularity"] = "uniform"
    logq: bool = False

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_n_negatives(self.n_negatives, "sampled-softmax")
        if self.draw not in ("uniform", "popularity"):
            raise InputError(f"sampled-softmax's draw is 'uniform' or 'popularity', got {self.draw!r}")

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
        batch_items = targets.values if batch_items is None else batch_items
        if not batch_items.numel():
            return zero_loss(queries, encode_items)
        if self.draw == "uniform":
            drawn = torch.randint(n_items, (self.n_negatives,), generator=generator, device=queries.device)
        else:
            drawn = _draw_by_popularity(item_frequency, self.n_negatives, generator)
        scores = SharedScores.of(queries, targets, encode_items, drawn, batch_items, others, self.temperature)
        correction = scores.counts.double().log()  # (M,)
        if self.logq:
            counts = item_frequency.clamp(min=1) if self.draw == "popularity" else torch.ones_like(item_frequency)
            correction -= (self.n_negatives * counts[scores.items].double() / counts.sum()).log()
        # added, and not written over the scores, because that has no gradient to be computed
        correction = torch.where(scores.hidden, NO_CANDIDATE, correction.to(scores.negative.dtype))  # (B, M)
        total = (scores.negative + correction).logsumexp(dim=1)[targets.row_of_value]  # (T,)
        return softplus(total - scores.positive).sum() / max(len(targets.values), 1)


@dataclass(frozen=True)
class SharedScores:
    """How a batch scores its targets, and the same M drawn items.

    Args:
        positive: Each target's score. (T,)
        negative: Each query's scores of the drawn items. (B, M)
        items: The drawn items, each once, in ascending order. (M,)
        counts: How often each was drawn. (M,)
        hidden: Where a drawn item is no negative, because the query's user has taken it. (B, M)
    """

    positive: Tensor
    negative: Tensor
    items: Tensor
    counts: Tensor
    hidden: Tensor

    @classmethod
    def of(
        cls,
        queries: Tensor,
        targets: Jagged,
        encode_items: EncodeItems,
        drawn: Tensor,
        batch_items: Tensor,
        others: Jagged | None,
        temperature: float,
    ) -> SharedScores:
        """Encodes the targets of all processes and the drawn items together, each once; the rest is as for `Loss`."""
        items, counts = drawn.unique(return_counts=True)
        rows = torch.cat([batch_items, items]).unique()
        vectors = encode_items(rows)
        users = targets.row_of_value
        # index_select, because the gradient of plain indexing with repeated rows is much slower
        target_vectors = vectors.index_select(0, torch.searchsorted(rows, targets.values))
        positive = pair_logits(queries.index_select(0, users), target_vectors, temperature)
        negative = logits(queries, vectors.index_select(0, torch.searchsorted(rows, items)), temperature)
        # a last column for what was not drawn: to leave it out of the pairs, a GPU would be waited for
        hidden = torch.zeros(len(queries), len(items) + 1, dtype=torch.bool, device=queries.device)
        for taken in (targets,) if others is None else (targets, others):
            at = torch.searchsorted(items, taken.values).clamp(max=len(items) - 1)
            at = torch.where(items[at] == taken.values, at, len(items))
            hidden[taken.row_of_value, at] = True
        return cls(positive, negative, items, counts, hidden[:, :-1])


def check_n_negatives(n_negatives: int, loss: str) -> None:
    """Refuses a loss without negatives: nothing would be learned from it."""
    if n_negatives < 1:
        raise InputError(f"{loss}'s n_negatives is at least 1, got {n_negatives}")


def _draw_by_popularity(item_frequency: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
    """Item rows, with replacement. (n,)

    Not by torch.multinomial, which takes no more than 2^24 items. The counts' sums are exact in float64.
    """
    sums = item_frequency.clamp(min=1).to(torch.float64).cumsum(0)  # (N,)
    at = torch.rand(n, generator=generator, device=sums.device, dtype=torch.float64) * sums[-1]
    return torch.searchsorted(sums, at, right=True).clamp(max=len(sums) - 1)
