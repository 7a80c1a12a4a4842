"""Interests of a model's users, measured: which settings validation likes best, and what each retriever finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from features.batches import JaggedArray
from recsys.diversity import distinct, pairwise_distance
from recsys.index import ItemIndex
from recsys.interests import Clusters, ClustersConfig, InterestsConfig, KNNEmbed, RetrieverKind, SimilarUsers
from recsys.metrics import RankedTargets
from recsys.retrievers import Retriever, encode_catalogue
from serving.bundles.writer import encoded_users
from serving.lists.popular import Popular
from training.evaluation import KS, Evaluation, sum_up

#: users that are asked for at a time
_USERS = 1024

#: similar users that are looked up at once, so that trials of more find them there
_NEIGHBOURS = 50

#: what settings are chosen by
CHOSEN_BY = "recall@50"


@dataclass(frozen=True)
class InterestsSpace:
    """The settings that are tried, one after the other, each with the best of those before it.

    Args:
        clusters: How many clusters.
        mixing: The neighbours' share.
        neighbours: How many neighbours.
        components: How many interests ask.
    """

    clusters: tuple[int, ...] = (25, 50, 100, 200, 400, 800)
    mixing: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    neighbours: tuple[int, ...] = (5, 10, 20, 50)
    components: tuple[int, ...] = (1, 2, 3, 5, 10, 20)


@dataclass(frozen=True)
class Trial:
    """Settings, and what they came to.

    Args:
        setting: Which of them was varied.
        config: All of them.
        figures: On validation.
    """

    setting: str
    config: InterestsConfig
    figures: dict[str, float]


class InterestsMeasure:
    """What retrievers of interests find of one part of a split, for one model's vectors.

    Args:
        evaluation: What is asked.
        items: The catalogue's vectors. (N, D) float32
        users: The users', by their histories of that part; zeros for who has none. (U, D) float32
        width: How many of the first columns say what an item is like: all but an item bias.
        index: What finds items; an exact one of the vectors where not given.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        items: np.ndarray,
        users: np.ndarray,
        width: int,
        index: ItemIndex | None = None,
    ) -> None:
        self.evaluation, self.items, self.users, self.width = evaluation, items, users, width
        self.histories: JaggedArray = evaluation.histories
        self.index = index or ItemIndex.build(items)
        self.similar = _Remembered(SimilarUsers.fit(users[:, :width]))
        self._clusters = lru_cache(maxsize=None)(self._clustered)
        self._popular = Popular(evaluation.prepared.item_counts)

    @classmethod
    def of(cls, model: Retriever, evaluation: Evaluation, index: ItemIndex | None = None) -> InterestsMeasure:
        """Of a model, in evaluation mode."""
        items = encode_catalogue(model, evaluation.prepared.item_table).cpu().numpy()
        return cls(evaluation, items, user_vectors(model, evaluation), model.config.dim, index)

    def _clustered(self, config: ClustersConfig) -> Clusters:
        return Clusters.fit(self.items[:, : self.width], config)

    def knn_embed(self, config: InterestsConfig) -> KNNEmbed:
        """The retrievers with some settings."""
        clusters = self._clusters(config.clusters)
        return KNNEmbed(config, clusters, self.index, self.similar, self.histories, self.width)

    def lists(self, kind: RetrieverKind, config: InterestsConfig, k: int = max(KS)) -> np.ndarray:
        """What one retriever finds for the users who are asked for; of who has no history, what is popular. (B, k)"""
        knn_embed, found = self.knn_embed(config), []
        popular = self._popular.best(k)[0]
        popular = np.pad(popular, (0, k - len(popular)), constant_values=-1)
        for start in range(0, len(self.evaluation.users), _USERS):
            users = self.evaluation.users[start : start + _USERS]
            seen = None if self.evaluation.seen is None else self.evaluation.seen.rows(users)
            own = self.histories.rows(users)
            rows = knn_embed.retrieve(kind, own, self.users[users], k, seen, users).rows
            rows[own.lengths == 0] = popular
            found.append(rows)
        return np.concatenate([*found, np.empty((0, k), np.int64)])

    def figures(self, lists: np.ndarray, of: Evaluation | None = None) -> dict[str, float]:
        """The measures of lists, whoever found them.

        Args:
            lists: Item rows, best first; -1 pads. (B, K)
            of: Of which part the lists are; this one's where not given.

        Returns:
            What `training.evaluation` measures, and of the K items "distance" and "distinct", that is clusters of a
            hundred, as `recsys.diversity` defines them.
        """
        evaluation = of or self.evaluation
        ranked = RankedTargets.in_lists(torch.from_numpy(lists), evaluation.targets.take(evaluation.users))
        found = sum_up([evaluation.sums(ranked, slices=False)])
        apart = pairwise_distance(lists, self.items[:, : self.width])
        return {**found, "distance": float(np.nanmean(apart)), "distinct": float(distinct(lists, self.groups).mean())}

    @property
    def groups(self) -> JaggedArray:
        """A hundred clusters of the items, the same for every retriever. (N rows)"""
        of_item = self._clusters(ClustersConfig(clusters=100, seed=1)).of_item
        return JaggedArray(of_item, np.arange(len(of_item) + 1))

    def recall_of_users(self, lists: np.ndarray, k: int) -> np.ndarray:
        """recall@k of each user who is asked for. (B,)"""
        targets = self.evaluation.targets.take(self.evaluation.users)
        ranked = RankedTargets.in_lists(torch.from_numpy(lists), targets)
        sums = self.evaluation.user_sums(ranked)
        at = sums.names.index(f"recall@{k}")
        return sums.sums[:, at].numpy()


class _Remembered:
    """Similar users of known ones, looked up once: every trial asks for the same.

    Args:
        similar: Who is like whom.
    """

    def __init__(self, similar: SimilarUsers) -> None:
        self._similar = similar
        self._found = np.full((similar.size, 0), -1)
        self._asked = np.zeros(similar.size, bool)

    def of(self, vectors: np.ndarray, k: int, themselves: np.ndarray | None = None) -> np.ndarray:
        """See `SimilarUsers.of`; of known users only."""
        assert themselves is not None
        if self._found.shape[1] < k:  # more than were ever asked for
            self._found = np.full((len(self._asked), max(k, _NEIGHBOURS)), -1)
            self._asked[:] = False
        fresh = np.flatnonzero(~self._asked[themselves])
        users = themselves[fresh]
        self._found[users] = self._similar.of(vectors[fresh], self._found.shape[1], users)
        self._asked[users] = True
        return self._found[themselves, :k]


def user_vectors(model: Retriever, evaluation: Evaluation) -> np.ndarray:
    """What a model makes of all users that have a history; zeros for the others. (U, D) float32"""
    histories = evaluation.histories
    users = np.flatnonzero(histories.lengths)
    vectors = np.zeros((len(histories), model.dim), np.float32)
    vectors[users] = encoded_users(model, evaluation.prepared, users, histories, evaluation.targets)
    return vectors


def search(
    measure: InterestsMeasure,
    kind: RetrieverKind,
    space: InterestsSpace = InterestsSpace(),
    start: InterestsConfig | None = None,
    rounds: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Trial]:
    """Tries settings one after the other, each with the best of those before it; none twice.

    Args:
        measure: Of a validation part.
        kind: Which retriever: of a plain "mixture", the settings of neighbours are not tried.
        space: What is tried.
        start: What settings are that are not tried yet; the defaults where not given.
        rounds: How often all are gone through.
        say: Called with a line a trial.
    """
    best = start or InterestsConfig()
    tried: dict[InterestsConfig, dict[str, float]] = {}
    for _ in range(rounds):
        for setting in ("clusters", "mixing", "neighbours", "components"):
            if kind == "mixture" and setting in ("mixing", "neighbours"):
                continue
            for value in getattr(space, setting):
                if setting == "clusters":
                    value = min(value, len(measure.items))  # there cannot be more
                config = _varied(best, setting, value)
                if config in tried:
                    continue
                tried[config] = measure.figures(measure.lists(kind, config))
                say(f"{kind}: {setting} {value}: {CHOSEN_BY} {tried[config][CHOSEN_BY]:.4f}")
                yield Trial(setting, config, tried[config])
            if tried:
                best = max(tried, key=lambda one: tried[one][CHOSEN_BY])


def _varied(config: InterestsConfig, setting: str, value: Any) -> InterestsConfig:
    if setting == "clusters":
        return dataclasses.replace(config, clusters=dataclasses.replace(config.clusters, clusters=value))
    return dataclasses.replace(config, **{setting: value})
