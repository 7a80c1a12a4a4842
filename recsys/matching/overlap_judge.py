"""A second opinion about pairs of records, from what they share and lack: boosted trees, joined with the first one.

Trees are LightGBM's (Ke et al., NeurIPS 2017). Both opinions are log-odds, of which a logistic regression makes one, on
validation pairs, from which neither has learned (stacking: Wolpert, Neural Networks 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

from features.errors import InputError
from recsys.matching.overlap import Overlap
from recsys.matching.words import Told

if TYPE_CHECKING:
    import lightgbm

#: of the trees; many small steps, each of some numbers and some pairs, so that few labels are not learned by heart
_ROUNDS = 300
_TREES = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 5,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
#: what each opinion counts before anything is known, and how many pairs that is worth
_PRIOR, _STRENGTH = 0.5, 1.0

Pairs = Sequence[tuple[Told, Told]]


@dataclass(frozen=True, eq=False)
class OverlapJudge:
    """Judges pairs by what they share and lack, and joins that with what is said of them already.

    Args:
        overlap: What is compared.
        trees: What numbers mean.
        weights: Of what is said already, of the trees' log-odds, and what is added.
        both_orders: Judges a pair by the mean of what is said of it and of the pair turned round.
    """

    overlap: Overlap
    trees: lightgbm.Booster
    weights: tuple[float, float, float] = (_PRIOR, _PRIOR, 0.0)
    both_orders: bool = False

    @classmethod
    def fit(
        cls, overlap: Overlap, pairs: Pairs, labels: np.ndarray, seed: int = 0, both_orders: bool = False
    ) -> OverlapJudge:
        """Learns from pairs with labels.

        Args:
            overlap: What is compared.
            pairs: (m,)
            labels: Which are the same. (m,) bool
            seed: Of the draws.
            both_orders: Learns from each pair turned round as well, and judges so.
        """
        import lightgbm

        numbers = overlap.numbers(pairs)
        if both_orders:
            numbers = np.concatenate([numbers, overlap.numbers(_turned(pairs))])
            labels = np.concatenate([labels, labels])
        data = lightgbm.Dataset(numbers, labels.astype(np.float32), params={"verbose": -1})
        trees = lightgbm.train({**_TREES, "seed": seed}, data, num_boost_round=_ROUNDS)
        return cls(overlap, trees, both_orders=both_orders)

    @classmethod
    def of_text(cls, overlap: Overlap, trees: str, weights: Sequence[float], both_orders: bool) -> OverlapJudge:
        """As `trees_as_text` was written.

        Raises:
            InputError: Trees that are none, or of other numbers.
        """
        import lightgbm

        try:
            booster = lightgbm.Booster(model_str=trees)
        except lightgbm.basic.LightGBMError as error:
            raise InputError(f"the trees cannot be read: {error}") from None
        if booster.num_feature() != len(overlap.names):
            raise InputError(f"the trees know {booster.num_feature()} numbers, and pairs have {len(overlap.names)}")
        one, other, added = weights
        return cls(overlap, booster, (one, other, added), both_orders)

    def trees_as_text(self) -> str:
        """LightGBM's own text."""
        return self.trees.model_to_string()

    def log_odds(self, pairs: Pairs) -> np.ndarray:
        """What the trees say by themselves. (m,) -> (m,) float64"""
        if not len(pairs):
            return np.zeros(0)
        orders = [pairs, _turned(pairs)] if self.both_orders else [pairs]
        said = [self.trees.predict(self.overlap.numbers(one), raw_score=True, num_threads=1) for one in orders]
        return np.mean(said, axis=0)

    def joined(self, stated: np.ndarray, pairs: Pairs) -> np.ndarray:
        """Both opinions together.

        Args:
            stated: What is said already, as log-odds. (m,)
            pairs: (m,)

        Returns:
            (m,) float32
        """
        one, other, added = self.weights
        return (one * stated + other * self.log_odds(pairs) + added).astype(np.float32)

    def weighed(self, stated: np.ndarray, pairs: Pairs, labels: np.ndarray) -> OverlapJudge:
        """The same with weights that make both opinions together likeliest; neither counts less than nothing.

        Args:
            stated: What is said already of pairs that nobody has learned from. (m,)
            pairs: (m,)
            labels: (m,) bool
        """
        stated, said, same = stated.astype(np.float64), self.log_odds(pairs), labels.astype(np.float64)

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            logs, added = parameters[:2], parameters[2]
            weights = np.exp(logs)
            together = weights[0] * stated + weights[1] * said + added
            away = logs - np.log(_PRIOR)
            error = 1 / (1 + np.exp(-np.clip(together, -500, 500))) - same
            slopes = np.array([weights[0] * (error @ stated), weights[1] * (error @ said), error.sum()])
            slopes[:2] += 2 * _STRENGTH * away
            return float(np.sum(np.logaddexp(0, together) - same * together) + _STRENGTH * (away @ away)), slopes

        start = np.array([np.log(_PRIOR), np.log(_PRIOR), 0.0])
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-12, 6), (-12, 6), (None, None)]).x
        return replace(self, weights=(float(np.exp(found[0])), float(np.exp(found[1])), float(found[2])))


def _turned(pairs: Pairs) -> Pairs:
    return [(right, left) for left, right in pairs]
