"""Bootstrap intervals: against a loop, and by how often they hold the truth."""

import math

import numpy as np
import pytest
import torch

from features.batches import Jagged
from recsys.confidence import bootstrap_intervals
from recsys.metrics import RankedTargets, UserSums


def user_sums(hits: np.ndarray, queries: np.ndarray) -> UserSums:
    columns = torch.from_numpy(hits.astype(float))[:, None], torch.from_numpy(queries.astype(float))[:, None]
    return UserSums(("hr@10",), *columns)


def test_intervals_agree_with_a_plain_resampling_loop():
    random = np.random.default_rng(0)
    queries = random.integers(1, 9, size=300)
    hits = random.binomial(queries, 0.3)
    low, high = bootstrap_intervals(user_sums(hits, queries), resamples=4000)["hr@10"]
    draws = [random.integers(300, size=300) for _ in range(4000)]
    slow_low, slow_high = np.quantile([hits[d].sum() / queries[d].sum() for d in draws], [0.025, 0.975])
    assert (low, high) == pytest.approx((slow_low, slow_high), abs=0.003)
    assert low < hits.sum() / queries.sum() < high


def test_queries_of_a_user_are_drawn_together():
    # 40 users of 50 equal queries each carry the information of 40 coins, not of 2,000
    hits = np.array([0, 50] * 20)
    low, high = bootstrap_intervals(user_sums(hits, np.full(40, 50)))["hr@10"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 40), rel=0.15)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        queries = random.integers(1, 4, size=80)
        hits = random.binomial(queries, 0.4)
        low, high = bootstrap_intervals(user_sums(hits, queries), resamples=300, level=0.8, seed=trial)["hr@10"]
        held += low <= 0.4 <= high
    assert 0.7 < held / 200 < 0.9


def test_the_seed_decides():
    sums = user_sums(np.arange(50) % 3, np.full(50, 3))
    assert bootstrap_intervals(sums, 100, seed=5) == bootstrap_intervals(sums, 100, seed=5)
    assert bootstrap_intervals(sums, 100, seed=5) != bootstrap_intervals(sums, 100, seed=6)


def test_only_means_have_intervals_and_users_without_targets_are_not_drawn():
    targets = Jagged(torch.tensor([0, 1]), torch.tensor([1, 0, 1]))
    ranked = RankedTargets.in_lists(torch.tensor([[0, 1], [0, 1], [0, 1]]), targets)
    intervals = bootstrap_intervals(UserSums.of(ranked, [1, 2], {"none": torch.zeros(2, dtype=torch.bool)}))
    assert set(intervals) == {f"{name}@{k}" for name in ("hr", "ndcg", "mrr", "recall", "user_ndcg") for k in (1, 2)}
    assert intervals["hr@1"] == (0.0, 1.0)
    assert intervals["hr@2"] == (1.0, 1.0)


def test_nothing_measured_has_no_intervals():
    ranked = RankedTargets.in_lists(
        torch.tensor([[0, 1]]), Jagged(torch.zeros(0, dtype=torch.int64), torch.tensor([0]))
    )
    assert bootstrap_intervals(UserSums.of(ranked, [1])) == {}
