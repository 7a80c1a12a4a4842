"""What is measured of bundles on a window: full rankings as they are served, and how long a request takes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from recsys.baselines import Popularity
from recsys.confidence import bootstrap_intervals
from recsys.metrics import RankedTargets, UserSums
from serving.candidates import CandidateGenerator
from training.bundle_evaluation import served_lists
from training.promotion.gates import Difference
from training.promotion.window import Window

#: the length of list that NDCG and coverage are of
K = 10
#: NDCG by user, as recall is: by query, whoever has many targets would count for as many users
NDCG = f"user_ndcg@{K}"


@dataclass(frozen=True, eq=False)
class WindowFigures:
    """A ranker on a window.

    Args:
        users: Each user's share in "user_ndcg@10", "recall@DEPTH" and "cold/recall@DEPTH", which are means over users.
        coverage: Share of the catalogue that stands in at least one list of 10.
    """

    users: UserSums
    coverage: float

    def mean(self, name: str) -> float:
        """A figure over all users; NaN where there is nothing to measure."""
        column = self.users.names.index(name)
        count = float(self.users.counts[:, column].sum())
        return float(self.users.sums[:, column].sum()) / count if count else math.nan

    def counted(self, name: str) -> int:
        """How many users a figure is the mean of."""
        return int(self.users.counts[:, self.users.names.index(name)].sum())


def of_bundle(generator: CandidateGenerator, window: Window, depth: int, tells_when: bool) -> WindowFigures:
    """What a loaded bundle's lists are worth, as it answers by default.

    Args:
        generator: Of the bundle.
        window: What is asked.
        depth: How many candidates; recall is of so many.
        tells_when: See `training.bundle_evaluation.served_lists`.
    """
    evaluation, parts, listed = window.evaluation, [], []
    removes = generator.bundle.manifest.removes_seen
    for users in evaluation.chunks():
        lists = served_lists(generator, evaluation, users, max(K, depth), tells_when=tells_when, exclude_seen=removes)
        ranked = RankedTargets.in_lists(lists, evaluation.targets.take(users))
        parts.append(UserSums.of(ranked, _lengths(depth), {"cold": window.cold[ranked.items]}))
        listed.append(lists[:, :K].flatten().unique())
    return WindowFigures(_together(parts), _coverage(window, listed))


def of_popularity(window: Window) -> WindowFigures:
    """What it is worth to recommend everybody what most had before the window."""
    evaluation, parts, listed = window.evaluation, [], []
    prepared = evaluation.prepared
    baseline = Popularity().fit(prepared.train, len(prepared.items))
    for users in evaluation.chunks():
        ranking, targets = evaluation.rank(users, baseline.scorer(evaluation.histories.rows(users)))
        ranked = RankedTargets.of(ranking, targets)
        parts.append(UserSums.of(ranked, [K], {"cold": window.cold[ranked.items]}))
        listed.append(ranking.rows[:, :K].flatten().unique())
    return WindowFigures(_together(parts), _coverage(window, listed))


def difference(
    name: str, first: WindowFigures, second: WindowFigures, resamples: int, level: float = 0.95
) -> Difference:
    """How a figure differs, by a paired bootstrap: users are drawn, and both rankers are measured on the same draw.

    Args:
        name: The figure.
        first: A ranker,
        second: and another, on the same window.
        resamples: How often is drawn.
        level: How often the interval holds the true difference.
    """
    columns = [one.users.names.index(name) for one in (first, second)]
    # targets are the same, so both means divide by the same counts, and their difference is a mean too
    sums = second.users.sums[:, columns[1]] - first.users.sums[:, columns[0]]
    counts = second.users.counts[:, columns[1]]
    both = UserSums((name,), sums[:, None], counts[:, None])
    low, high = bootstrap_intervals(both, resamples, level).get(name, (math.nan, math.nan))
    return Difference(first.mean(name), second.mean(name), low, high)


def milliseconds(generators: Sequence[CandidateGenerator], window: Window, requests: int) -> list[float]:
    """How long each of some bundles takes for a request in process, of one user with a history: medians.

    They are asked in turn, so that whatever else the machine does meets all of them.

    Args:
        generators: Of the bundles.
        window: Whose users ask.
        requests: How many.
    """
    rows = window.evaluation.users
    rows = rows[np.linspace(0, len(rows) - 1, min(requests, len(rows))).astype(np.int64)]
    spent = np.empty((len(rows), len(generators)))
    for place, row in enumerate(rows):
        for number, generator in enumerate(generators):
            began = time.perf_counter()
            served_lists(generator, window.evaluation, np.array([row]), K)
            spent[place, number] = time.perf_counter() - began
    return (1000 * np.median(spent, axis=0)).tolist()


def _lengths(depth: int) -> list[int]:
    return sorted({K, depth})


def _together(parts: list[UserSums]) -> UserSums:
    return UserSums(parts[0].names, torch.cat([one.sums for one in parts]), torch.cat([one.counts for one in parts]))


def _coverage(window: Window, listed: list[torch.Tensor]) -> float:
    rows = torch.cat(listed).unique()
    return int((rows >= 0).sum()) / len(window.evaluation.prepared.items)
