"""A linear model of items by all other items, in closed form: strong where the catalogue is small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from features.batches import Jagged, JaggedArray
from features.errors import InputError
from recsys.baselines.baseline import ALL, Baseline, incidence

#: of a catalogue of so many items the dense matrices take 10 GB
MOST_ITEMS = 20_000


@dataclass(frozen=True)
class EASEConfig:
    """Settings of `EASE`.

    Args:
        l2: Weight of the squared weights, in users.
    """

    l2: float = 500.0

    def __post_init__(self) -> None:
        if not self.l2 > 0:
            raise InputError(f"ease's l2 is a positive number, got {self.l2}")


class EASE(Baseline):
    """Each item's column of the users' histories, as a linear function of all other items' columns.

    Follows H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019: the weights B minimise
    `|X - X B|^2 + l2 |B|^2` over matrices with a zero diagonal, which is `B = -P / diag(P)` off the diagonal for
    `P = (X^T X + l2 I)^-1`; a candidate's score is the sum of the history's weights for it. Time is cubic in the number
    of items, and memory 24 bytes for each pair of them.

    Example:
        >>> import numpy as np
        >>> histories = JaggedArray(np.array([0, 1, 0, 1, 1, 2]), np.array([0, 2, 4, 6]))
        >>> model = EASE(EASEConfig(l2=1.0)).fit(histories, n_items=3)
        >>> model.scores(Jagged(torch.tensor([0]), torch.tensor([1]))).round(decimals=2).tolist()
        [[0.0, 0.67, -0.25]]
    """

    weights: Tensor  # (N history items, N candidates), float32

    def __init__(self, config: EASEConfig = EASEConfig()) -> None:
        self.config = config

    def fit(self, histories: JaggedArray, n_items: int) -> Self:
        """Solves for the weights.

        Args:
            histories: Item rows; an item that a user has several times counts once. (U rows)
            n_items: N

        Raises:
            InputError: More items than a dense matrix is made for.
        """
        if n_items > MOST_ITEMS:
            raise InputError(
                f"ease inverts a dense matrix of all pairs of items, which is made for {MOST_ITEMS:,} items at most, "
                f"not for {n_items:,}"
            )
        users = incidence(histories.values, histories.lengths, n_items)  # (U, N)
        both = torch.from_numpy((users.T @ users).toarray()).double()  # (N, N) users of both
        both.diagonal().add_(self.config.l2)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(both))
        del both
        inverse /= -inverse.diagonal().clone()  # by column
        inverse.fill_diagonal_(0)
        self.weights = inverse.float()
        return self

    def scores(self, histories: Jagged, items: slice = ALL) -> Tensor:
        """Sums the weights that a history's items have for each candidate. (B, n) float32.

        Args:
            histories: Item rows; -1 is ignored. (B rows)
            items: Which items are scored.
        """
        rows = incidence(histories.values.numpy(), histories.lengths.numpy(), len(self.weights))
        return torch.from_numpy(rows @ self.weights[:, items].numpy())
