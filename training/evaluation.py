"""Full-ranking evaluation of models, baselines and a known optimum, by one set of measures.

The split says what is removed from a ranking as seen, and whether a test history includes the validation items. A user
without any history is ranked by popularity, because that is what serving answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from features.batches import Jagged, JaggedArray
from features.prepared import Prepared
from recsys.baselines import ItemKNN, Popularity
from recsys.baselines.baseline import Baseline
from recsys.metrics import MetricSums, RankedTargets, UserSums
from recsys.retrievers import Retriever, encode_catalogue, encode_histories
from recsys.top_k import Ranking, Scorer, dot_product, full_ranking

#: lengths of list that figures are given for
KS = (10, 20, 50)

#: the figures that tables show
METRICS = ("hr@10", "ndcg@10", "mrr@10", "recall@50", "coverage@10")

_USERS = 1024

#: popular items: this share of the catalogue
_HEAD = 0.2


class Evaluation:
    """What is asked of every ranker on one part of a split.

    Args:
        prepared: The data.
        part: "validation" or "test".
    """

    def __init__(self, prepared: Prepared, part: str = "test") -> None:
        self.prepared = prepared
        self.targets: JaggedArray = prepared.test if part == "test" else prepared.validation
        self.histories: JaggedArray = prepared.test_histories if part == "test" else prepared.validation_histories
        self.seen: JaggedArray | None = prepared.seen(part)
        self.users = np.flatnonzero(self.targets.lengths)
        counts = prepared.item_counts
        self._cold = torch.from_numpy(counts == 0)
        self._head = torch.zeros(len(counts), dtype=torch.bool)
        self._head[np.argsort(-counts, kind="stable")[: max(1, round(_HEAD * len(counts)))]] = True

    def chunks(self) -> list[np.ndarray]:
        """Rows of the users with a target, some at a time."""
        return [self.users[start : start + _USERS] for start in range(0, len(self.users), _USERS)]

    def asked_at(self, users: np.ndarray) -> Tensor | None:
        """When the first target of each of some users came; None where histories are not timed. (B,)"""
        times = self.targets.times
        return None if times is None else torch.from_numpy(times[self.targets.offsets[users]])

    def rank(self, users: np.ndarray, scorer: Scorer) -> tuple[Ranking, Jagged]:
        """Ranks the whole catalogue for some users, the seen items removed.

        Args:
            users: User rows. (B,)
            scorer: Scores these users; see `recsys.top_k.full_ranking`.

        Returns:
            The ranking and the users' targets. (B rows each)
        """
        targets = self.targets.take(users)
        seen = None if self.seen is None else self.seen.take(users)
        return full_ranking(scorer, len(users), len(self.prepared.items), max(KS), seen, targets), targets

    def slices(self, items: Tensor) -> dict[str, Tensor]:
        """Which targets are cold (not in training), popular (the top fifth of the catalogue) or in the tail. (T,)"""
        return {"cold": self._cold[items], "head": self._head[items], "tail": ~self._head[items] & ~self._cold[items]}

    def sums(self, ranked: RankedTargets, slices: bool = True) -> MetricSums:
        """All measures of some users' rankings, with or without those of slices."""
        return MetricSums.of(ranked, KS, len(self.prepared.items), self.slices(ranked.items) if slices else None)

    def user_sums(self, ranked: RankedTargets) -> UserSums:
        """Each user's share in them."""
        return UserSums.of(ranked, KS, self.slices(ranked.items))


class ModelScores:
    """A retriever's scores, and popularity for users without a history.

    Args:
        model: The model, in evaluation mode.
        evaluation: What is asked.
        agreed: See `recsys.retrievers.encode_histories`, where several processes have parts of the model.
    """

    def __init__(self, model: Retriever, evaluation: Evaluation, agreed: Callable[[int], int] = int) -> None:
        self._model = model
        self._agreed = agreed
        self._evaluation = evaluation
        self._items = encode_catalogue(model, evaluation.prepared.item_table)
        self._popularity = torch.from_numpy(evaluation.prepared.item_counts).float().to(self._items.device)

    @torch.no_grad()
    def scorer(self, users: np.ndarray) -> Scorer:
        """Scores of these users. (B,)"""
        histories = self._evaluation.histories.rows(users)
        batch = self._evaluation.prepared.user_features(users, histories)
        batch.asked_at = self._evaluation.asked_at(users)
        vectors = encode_histories(self._model, batch.to(device=self._items.device), self._agreed)  # (B, D)
        score = dot_product(vectors, self._items)
        strangers = torch.from_numpy(histories.lengths == 0).to(self._items.device)

        def scores(rows: slice, items: slice) -> Tensor:
            block = score(rows, items)
            block[strangers[rows]] = self._popularity[items]
            return block

        return scores


def evaluate(evaluation: Evaluation, scorer_of: Callable[[np.ndarray], Scorer]) -> dict[str, float]:
    """Every measure of a ranker.

    Args:
        evaluation: What is asked.
        scorer_of: Gives the scorer of some users' rows.
    """
    ranked = [RankedTargets.of(*evaluation.rank(users, scorer_of(users))) for users in evaluation.chunks()]
    return sum_up([evaluation.sums(one) for one in ranked])


def sum_up(parts: list[MetricSums]) -> dict[str, float]:
    """The figures of several chunks of users together; those with nothing to measure are left out."""
    total = parts[0]
    for one in parts[1:]:
        total = total + one
    return {name: value for name, value in total.values().items() if not math.isnan(value)}


def evaluate_baselines(prepared: Prepared, part: str = "test") -> dict[str, dict[str, float]]:
    """Popularity and item-kNN under the same protocol, by name."""
    evaluation = Evaluation(prepared, part)
    out = {}
    for name, baseline in (("popularity", Popularity()), ("item-knn", ItemKNN())):
        fitted = baseline.fit(prepared.train, len(prepared.items))
        out[name] = evaluate(evaluation, _scorers(fitted, evaluation))
    return out


def _scorers(fitted: Baseline, evaluation: Evaluation) -> Callable[[np.ndarray], Scorer]:
    return lambda users: fitted.scorer(evaluation.histories.rows(users))


def evaluate_scores(scores_of: Callable[[list], np.ndarray], prepared: Prepared) -> dict[str, float]:
    """A ranker that gives all scores at once, such as a planted optimum.

    Args:
        scores_of: User ids to scores of all items in the order of their vocabulary. (B,) -> (B, N)
        prepared: The data; the test part is asked for.
    """
    evaluation = Evaluation(prepared)

    def scorer_of(users: np.ndarray) -> Scorer:
        scores = torch.from_numpy(np.asarray(scores_of(prepared.users.ids_of(users).to_list()), dtype=np.float32))
        return lambda rows, items: scores[rows, items].clone()

    return evaluate(evaluation, scorer_of)
