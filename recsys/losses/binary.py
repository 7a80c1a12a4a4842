"""Losses that ask of each item by itself whether the user took it: binary cross-entropy, and gSASRec's form of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from features.batches import Jagged
from features.errors import InputError
from recsys.losses.full_softmax import EncodeItems, check_temperature, pair_logits, zero_loss
from recsys.losses.shared_negatives import SharedScores, check_n_negatives


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """-(log sigma(s) + sum over k negatives of log(1 - sigma(s'))) / (k + 1), of each target with score s.

    With one uniform negative for each target, the default, it is SASRec's loss (Kang & McAuley, ICDM 2018). With few
    negatives of many items a model learns to be sure of too much: sigma(s) is far above the chance that the item is
    taken, and the best items are told from each other badly. `GeneralisedBCE` mends that.

    A score is an inner product plus `prior`, which is 0 where there is one negative.

    A drawn item that the user is known to have taken, its target above all, is no negative there.

    Args:
        temperature: Divides the scores.
        n_negatives: k, drawn uniformly, with replacement.
        shared: Whether all targets have the same negatives, which makes many of them cheap: B x M scores, one matrix
            product. With their own, k x D numbers are read for each target.

    Example:
        >>> table = torch.zeros(10, 3)
        >>> targets = Jagged(torch.tensor([4]), torch.tensor([1]))
        >>> generator = torch.Generator().manual_seed(1)
        >>> BinaryCrossEntropy()(torch.ones(1, 3), targets, table.__getitem__, 10, torch.ones(10), generator)
        tensor(0.6931)
    """

    temperature: float = 1.0
    n_negatives: int = 1
    shared: bool = False

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_n_negatives(self.n_negatives, "a binary loss")

    def weight_of_positive(self, n_items: int) -> float:
        """What log sigma(s) is multiplied with."""
        return 1.0

    def prior(self, n_items: int) -> float:
        """What every inner product is given: the log-odds that are best for an item taken as often as any other.

        With k negatives, and a positive that weighs beta, these are log(beta / k), where both pull alike. Items have
        the same order with it and without. But a model that must find it by itself pushes all items one way, as it
        begins, and where a history reads the same table, they come out so alike that it never gets to know them.
        """
        return math.log(self.weight_of_positive(n_items) / self.n_negatives)

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
        """See `Loss`; the frequencies are not used."""
        batch_items = targets.values if batch_items is None else batch_items
        if not batch_items.numel():
            return zero_loss(queries, encode_items)
        if self.shared:
            scored = self._shared_scores(queries, targets, encode_items, n_items, generator, others, batch_items)
        else:
            scored = self._own_scores(
                queries, targets, encode_items, n_items, generator, others, batch_items, batch_start
            )
        positive, costs = scored  # (T,), (T,)
        # log(sigma(s)^beta) = beta log sigma(s): no power of a sigma is ever computed, and float32 is enough
        losses = costs - self.weight_of_positive(n_items) * logsigmoid(positive + self.prior(n_items))
        return losses.sum() / ((self.n_negatives + 1) * max(len(targets.values), 1))

    def _shared_scores(
        self, queries, targets, encode_items, n_items, generator, others, batch_items
    ) -> tuple[Tensor, Tensor]:
        """Each target's score, and the sum of its negatives' costs. (T,), (T,)"""
        drawn = torch.randint(n_items, (self.n_negatives,), generator=generator, device=queries.device)
        scores = SharedScores.of(queries, targets, encode_items, drawn, batch_items, others, self.temperature)
        times = torch.where(scores.hidden, 0, scores.counts.to(scores.negative.dtype))  # (B, M)
        costs = (softplus(scores.negative + self.prior(n_items)) * times).sum(dim=1)  # (B,)
        return scores.positive, costs[targets.row_of_value]

    def _own_scores(
        self, queries, targets, encode_items, n_items, generator, others, batch_items, batch_start
    ) -> tuple[Tensor, Tensor]:
        """The same, with negatives of each target's own. (T,), (T,)"""
        # all processes draw for the whole batch, encode the same items, and score their own part
        shape = len(batch_items), self.n_negatives
        drawn = torch.randint(n_items, shape, generator=generator, device=queries.device)
        rows = torch.cat([batch_items, drawn.flatten()]).unique()
        vectors = encode_items(rows)
        mine = drawn[batch_start : batch_start + len(targets.values)]  # (T, k)
        users = targets.row_of_value
        askers = queries.index_select(0, users)
        at = torch.searchsorted(rows, targets.values)
        positive = pair_logits(askers, vectors.index_select(0, at), self.temperature)  # (T,)
        at = torch.searchsorted(rows, mine).flatten()
        negatives = vectors.index_select(0, at).view(*mine.shape, vectors.shape[1])  # (T, k, D)
        logits = pair_logits(askers[:, None], negatives, self.temperature) + self.prior(n_items)
        costs = softplus(logits)  # (T, k)
        return positive, costs.masked_fill(_taken(users[:, None], mine, n_items, targets, others), 0).sum(dim=1)


@dataclass(frozen=True)
class GeneralisedBCE(BinaryCrossEntropy):
    """gBCE: binary cross-entropy whose positives weigh less, as if all items were negatives.

    log sigma(s) is multiplied with beta = 1 - t (1 - alpha), which is the paper's alpha (t (1 - 1/alpha) + 1/alpha).
    alpha is how often a given item is expected among a target's negatives. With t = 0 it is `BinaryCrossEntropy`, whose
    sigma(s) is best at p / (p + alpha (1 - p)) for an item that is taken with chance p; with t = 1 it is best at p
    itself, as the softmax is (Petrov & Macdonald, RecSys 2023, arXiv 2308.07192: gSASRec; the defaults are theirs).

    The paper draws negatives among the N - 1 items that are not the target, and has alpha = k / (N - 1). Here a draw is
    one of all N, and dropped where it is the target, so alpha is k / N.

    Args:
        temperature: Divides the scores.
        n_negatives: k, drawn uniformly, with replacement.
        shared: Whether all targets have the same negatives.
        calibration: t, from 0 to 1.
    """

    n_negatives: int = 256
    shared: bool = True
    calibration: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.calibration <= 1:
            raise InputError(f"gbce's calibration is a number from 0 to 1, got {self.calibration!r}")

    def weight_of_positive(self, n_items: int) -> float:
        """The paper's beta."""
        return 1 - self.calibration * (1 - self.n_negatives / n_items)


def _taken(users: Tensor, items: Tensor, n_items: int, targets: Jagged, others: Jagged | None) -> Tensor:
    """Whether the user of each (user, item) is known to have taken the item. (T, 1), (T, k) -> (T, k)"""
    keys = targets.row_of_value * n_items + targets.values
    if others is not None:
        known = others.values >= 0  # -1 would be the last item of the user before
        keys = torch.cat([keys, (others.row_of_value * n_items + others.values)[known]])
    return torch.isin(users * n_items + items, keys)
