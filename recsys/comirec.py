"""ComiRec-SA: several interests of a user learned end to end, to compare mixtures with that nothing was trained for.

Y. Cen et al., "Controllable Multi-Interest Framework for Recommendation", KDD 2020, section 3.2: a self-attention over
the items of a history gives each of K heads its own weights of them, and so its own vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from features.batches import Jagged
from features.errors import InputError


@dataclass(frozen=True)
class ComiRecConfig:
    """What it looks like.

    Args:
        dim: Width D of the vectors.
        interests: How many each user has: K.
        hidden: Width of the attention's hidden layer; 0 takes four times D, as the paper does.
        max_length: Items of a history that are read, the last ones.
        positions: Whether the attention knows which place an item has, counted from the end; of no use where histories
            have no order.
        dropout: Share of the history's numbers that training zeroes.
    """

    dim: int = 64
    interests: int = 4
    hidden: int = 0
    max_length: int = 200
    positions: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dim", "interests", "max_length"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of ComiRec is at least 1, got {getattr(self, name)}")
        if self.hidden < 0:
            raise InputError(f"hidden of ComiRec is 0 or more, got {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout of ComiRec is in [0, 1), got {self.dropout}")


class ComiRec(nn.Module):
    """Items as vectors, and users as K of them.

    Args:
        config: What it looks like.
        n_items: N
    """

    def __init__(self, config: ComiRecConfig, n_items: int) -> None:
        super().__init__()
        self.config = config
        self.items = nn.Embedding(n_items, config.dim)
        nn.init.normal_(self.items.weight, std=config.dim**-0.5)
        self.places = nn.Embedding(config.max_length, config.dim) if config.positions else None
        hidden = config.hidden or 4 * config.dim
        self.attention = nn.Sequential(
            nn.Linear(config.dim, hidden, bias=False), nn.Tanh(), nn.Linear(hidden, config.interests, bias=False)
        )
        self.dropout = nn.Dropout(config.dropout)

    def encode_items(self, rows: Tensor) -> Tensor:
        """Item rows -> their vectors. (M,) -> (M, D)"""
        return self.items(rows)

    def interests(self, histories: Jagged) -> Tensor:
        """The vectors of each user's interests; zeros for a user without a history. (B rows) -> (B, K, D)

        Args:
            histories: Item rows, oldest first, none of them unknown.
        """
        histories = self._recent(histories)
        users, n_users = histories.row_of_value, len(histories)
        read = self.dropout(self.items(histories.values))  # (T, D)
        told = read if self.places is None else read + self.places(_from_end(histories))
        weights = _softmax(self.attention(told), users, n_users)  # (T, K)
        nothing = read.new_zeros(n_users, read.shape[1])
        # a head at a time: all at once would be K times the histories' vectors
        return torch.stack([nothing.index_add(0, users, one[:, None] * read) for one in weights.T], dim=1)

    def _recent(self, histories: Jagged) -> Jagged:
        """The end of each history, as much as is read."""
        if not len(histories) or int(histories.lengths.max()) <= self.config.max_length:
            return histories
        kept = _from_end(histories) < self.config.max_length
        return Jagged(histories.values[kept], histories.lengths.clamp(max=self.config.max_length))


def routed(interests: Tensor, targets: Jagged, vectors: Tensor, others: Jagged) -> tuple[Tensor, Jagged, Jagged]:
    """Each interest as a query of its own, for a loss: it is to find the targets that are nearest to it (equation 9).

    Args:
        interests: (B, K, D)
        targets: What each user is to find. (B rows, T values)
        vectors: The targets'. (T, D)
        others: What each user has taken besides. (B rows)

    Returns:
        Queries (B K, D); their targets, each with one of the user's interests; and what else the user has taken, the
        targets of the other interests among it, which are no negatives either. (B K rows each)
    """
    n_users, k, dim = interests.shape
    users = targets.row_of_value
    theirs = interests.detach()[users] @ vectors.detach()[:, :, None]  # (T, K, 1)
    rows = users * k + theirs[:, :, 0].argmax(dim=1)
    order = rows.argsort(stable=True)
    mine = Jagged(targets.values[order], torch.bincount(rows, minlength=n_users * k))
    taken = torch.cat([targets.values, others.values])
    by_user = torch.cat([users, others.row_of_value]).argsort(stable=True)
    lengths = targets.lengths + others.lengths
    starts = (lengths.cumsum(0) - lengths).repeat_interleave(k)
    lengths = lengths.repeat_interleave(k)
    ends = lengths.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    place = torch.arange(total, device=ends.device) - (ends - lengths).repeat_interleave(lengths, output_size=total)
    at = starts.repeat_interleave(lengths, output_size=total) + place
    return interests.reshape(n_users * k, dim), mine, Jagged(taken[by_user][at], lengths)


def _from_end(histories: Jagged) -> Tensor:
    """The place of each value in its history, counted from 0 at the end. (T,)"""
    ends = histories.lengths.cumsum(0)
    return ends[histories.row_of_value] - 1 - torch.arange(len(histories.values), device=ends.device)


def _softmax(logits: Tensor, groups: Tensor, n: int) -> Tensor:
    """Over the values of each of n groups, for every column. (T, K), (T,) -> (T, K)"""
    wide = groups[:, None].expand_as(logits)
    most = logits.new_full((n, logits.shape[1]), -torch.inf).scatter_reduce(0, wide, logits.detach(), "amax")
    grown = (logits - most[groups]).exp()
    totals = grown.new_zeros(n, logits.shape[1]).index_add(0, groups, grown)
    return grown / totals[groups]
