"""A second opinion about pairs of records, from what they share and lack: boosted trees, stacked on the first one.

Trees are LightGBM's (Ke et al., NeurIPS 2017). Both opinions are log-odds, of which a logistic regression on validation
pairs makes one (stacking: Wolpert, Neural Networks 1992).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from recsys.matching.overlap import Overlap
from recsys.matching.trees import Trees
from recsys.matching.words import Told

#: of the trees; many small steps, each of some numbers and some pairs, so that few labels are not learned by heart
ROUNDS = 300
SETTINGS = {
    "objective": "cross_entropy",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 5,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "use_missing": False,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
#: what trees read where nothing is said: all that is said is 0 or more
_NOTHING = -1.0
#: what each opinion counts before anything is known, and how many pairs that is worth
PRIOR, _STRENGTH = 0.5, 1.0
#: parts of the validation pairs, each of which is joined by weights from the others
_FOLDS = 5

Pairs = Sequence[tuple[Told, Told]]


@dataclass(frozen=True, eq=False)
class OverlapJudge:
    """Judges pairs by what they share and lack, and joins that with what is said of them already.

    Args:
        overlap: What is compared.
        trees: What comparison vectors mean.
        weights: Of what is said already, of the trees' log-odds, and what is added.
        both_orders: Judges a pair by the mean of what is said of it and of the pair turned round.
    """

    overlap: Overlap
    trees: Trees
    weights: tuple[float, float, float] = (PRIOR, PRIOR, 0.0)
    both_orders: bool = False

    @classmethod
    def fit(
        cls, overlap: Overlap, pairs: Iterable[Pairs], labels: np.ndarray, seed: int = 0, both_orders: bool = False
    ) -> OverlapJudge:
        """Learns from pairs with labels.

        Args:
            overlap: What is compared.
            pairs: Some after the others. (m in all)
            labels: Which are the same, or the chance that they are. (m,) in [0, 1]
            seed: Of the draws.
            both_orders: Learns from each pair turned round as well, and judges so.
        """
        vectors = np.concatenate([overlap.comparison_vectors(some) for some in pairs])
        return cls(
            overlap,
            fit_trees(vectors, labels, seed, overlap.turned if both_orders else None),
            (PRIOR, PRIOR, 0.0),
            both_orders,
        )

    def log_odds(self, pairs: Pairs) -> np.ndarray:
        """What the trees say by themselves. (m,) -> (m,) float64"""
        vectors = read_by_trees(self.overlap.comparison_vectors(pairs))
        said = self.trees.sums(vectors)
        return (said + self.trees.sums(vectors[:, self.overlap.turned])) / 2 if self.both_orders else said

    def joined(self, stated: np.ndarray, said: np.ndarray) -> np.ndarray:
        """Both opinions together.

        Args:
            stated: What is said already, as log-odds. (m,)
            said: What the trees say. (m,)

        Returns:
            (m,) float64
        """
        return _joined(self.weights, stated, said)

    def stacked(self, stated: np.ndarray, said: np.ndarray, labels: np.ndarray) -> tuple[OverlapJudge, np.ndarray]:
        """The same with weights that make both opinions together likeliest; neither counts less than nothing.

        Args:
            stated: What is said already of pairs that neither has learned from. (m,)
            said: What the trees say of them. (m,)
            labels: (m,) bool

        Returns:
            It, and what both say together of each pair by weights that have not seen its label: what calibration and
            thresholds are chosen by. (m,) float64
        """
        stated, said, labels = stated.astype(np.float64), said.astype(np.float64), labels.astype(bool)
        weights = _weights(stated, said, labels)
        together = _joined(weights, stated, said)
        n = min(_FOLDS, int(labels.sum()), int((~labels).sum()))
        if n > 1:
            fold = np.zeros(len(labels), np.int64)
            for one in (labels, ~labels):
                fold[one] = np.arange(one.sum()) % n
            for held in (fold == one for one in range(n)):
                others = _weights(stated[~held], said[~held], labels[~held])
                together[held] = _joined(others, stated[held], said[held])
        return replace(self, weights=weights), together


def fit_trees(
    vectors: np.ndarray, labels: np.ndarray, seed: int = 0, turned: np.ndarray | None = None, **settings: float
) -> Trees:
    """Boosted trees of what pairs share and lack.

    Args:
        vectors: As `Overlap.comparison_vectors` gives them. (m, F)
        labels: (m,) in [0, 1]
        seed: Of the draws.
        turned: Where what stands in a vector stands when its pair is turned round, if these are to be learned from,
            too. (F,)
        settings: Others than `SETTINGS`, or `num_boost_round`.
    """
    import lightgbm

    if turned is not None:
        vectors, labels = np.concatenate([vectors, vectors[:, turned]]), np.concatenate([labels, labels])
    rounds = int(settings.pop("num_boost_round", ROUNDS))
    data = lightgbm.Dataset(read_by_trees(vectors), labels.astype(np.float32), params={"verbose": -1})
    return Trees.of(lightgbm.train({**SETTINGS, **settings, "seed": seed}, data, num_boost_round=rounds))


def read_by_trees(vectors: np.ndarray) -> np.ndarray:
    """With a number where nothing is said. (m, F)"""
    return np.nan_to_num(vectors, nan=_NOTHING)


def _joined(weights: Sequence[float], stated: np.ndarray, said: np.ndarray) -> np.ndarray:
    one, other, added = weights
    return one * stated.astype(np.float64) + other * said + added


def _weights(stated: np.ndarray, said: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """Logistic regression; the logarithms of both weights are drawn to that of `PRIOR`."""
    same = labels.astype(np.float64)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logs, added = parameters[:2], parameters[2]
        weights = np.exp(logs)
        together = weights[0] * stated + weights[1] * said + added
        away = logs - np.log(PRIOR)
        error = 1 / (1 + np.exp(-np.clip(together, -500, 500))) - same
        slopes = np.array([weights[0] * (error @ stated), weights[1] * (error @ said), error.sum()])
        slopes[:2] += 2 * _STRENGTH * away
        return float(np.sum(np.logaddexp(0, together) - same * together) + _STRENGTH * (away @ away)), slopes

    start = np.array([np.log(PRIOR), np.log(PRIOR), 0.0])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-12, 6), (-12, 6), (None, None)]).x
    return float(np.exp(found[0])), float(np.exp(found[1])), float(found[2])
