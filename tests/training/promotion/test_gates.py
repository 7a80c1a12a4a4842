"""Gates: what passes, what does not, and that the sentence says by how much."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from features.errors import InputError
from recsys.metrics import UserSums
from training.promotion import Tolerances, gates
from training.promotion.figures import WindowFigures, difference
from training.promotion.gates import Difference

T = Tolerances()


def figures(hits: np.ndarray) -> WindowFigures:
    """Users with one query each."""
    sums = torch.from_numpy(hits.astype(float))[:, None]
    return WindowFigures(UserSums(("user_ndcg@10",), sums, torch.ones_like(sums)), 0.5)


def test_the_bootstrap_is_paired():
    """A small difference that all users share is certain, though users differ a hundred times as much."""
    random = np.random.default_rng(0)
    before = random.random(500)
    after = before + 0.01 + 0.001 * random.standard_normal(500)
    found = difference("user_ndcg@10", figures(before), figures(after), 1000)
    assert 0.0095 < found.low < found.change < found.high < 0.0105
    assert found.change == pytest.approx(after.mean() - before.mean())
    # as many draws by hand
    draws = random.integers(500, size=(4000, 500))
    expected = np.quantile((after - before)[draws].mean(1), [0.025, 0.975])
    assert np.allclose([found.low, found.high], expected, atol=1e-5)
    surer = difference("user_ndcg@10", figures(before), figures(after), 4000, level=0.975)
    expected = np.quantile((after - before)[draws].mean(1), [0.0125, 0.9875])
    assert np.allclose([surer.low, surer.high], expected, atol=1e-5) and surer.low < found.low
    apart = difference("user_ndcg@10", figures(before), figures(random.permutation(after)), 1000)
    assert apart.low < 0 < apart.high


@pytest.mark.parametrize(
    ("found", "passed", "words"),
    [
        (Difference(0.2, 0.21, 0.005, 0.015), True, "it is shown to be better"),
        (Difference(0.2, 0.2, -0.005, 0.005), True, "it is shown to be no worse"),
        (Difference(0.2, 0.15, -0.06, -0.04), False, "it is worse by 0.0500"),
        (
            Difference(0.2, 0.2, -0.0075, 0.007),
            False,
            "a loss of up to 0.0075 is not ruled out, which is 0.0015 too much",
        ),
        (Difference(0.0, 0.0, 0.0, 0.0), True, "no worse"),
    ],
)
def test_quality_passes_if_it_is_shown_to_be_no_worse(found, passed, words):
    gate = gates.quality("user_ndcg@10", found, 1234, T)
    assert gate.passed is passed and words in gate.told
    assert f"{found.after:.4f} against the champion's {found.before:.4f}" in gate.told and "1,234 users" in gate.told


def test_better_is_better_in_one_figure_at_least():
    same, more = Difference(0.2, 0.2, -0.001, 0.001), Difference(0.5, 0.6, 0.05, 0.15)
    assert gates.better({"user_ndcg@10": same, "recall@100": more}).passed
    refused = gates.better({"user_ndcg@10": same, "recall@100": same})
    assert not refused.passed and "recall@100 +0.0000 (at least -0.0010)" in refused.told


@pytest.mark.parametrize(
    ("low", "high", "passed"), [(-0.2, -0.05, False), (-0.2, 0.01, True), (-0.02, -0.01, True), (0.1, 0.2, True)]
)
def test_cold_items_are_refused_only_where_a_loss_is_shown(low, high, passed):
    assert gates.cold(Difference(0.3, 0.3 + (low + high) / 2, low, high), 50, T).passed is passed


def test_without_cold_items_nobody_is_stopped():
    nothing = Difference(math.nan, math.nan, math.nan, math.nan)
    assert gates.cold(nothing, 0, T).passed is None


@pytest.mark.parametrize(
    ("gate", "passed", "words"),
    [
        (gates.coverage(0.5, 0.41, T), True, "0.4000 is the least"),
        (gates.coverage(0.5, 0.39, T), False, "0.3900 of the catalogue is in some list of 10, the champion's 0.5000"),
        (gates.size(1_000_000, 2_000_000, T), True, "2.0 MB are 2.00 times the champion's 1.0"),
        (
            gates.size(1_000_000, 2_100_000, T),
            False,
            "2.1 MB are 2.10 times the champion's 1.0, and 2 times are allowed",
        ),
        (gates.latency(10, 14, T), True, "1.40 times"),
        (gates.latency(10, 16, T), False, "16.00 ms, 1.60 times the champion's 10.00 ms; 1.5 times, or 1 ms more"),
        (gates.latency(0.5, 1.4, T), True, "2.80 times"),  # which is less than a millisecond
        (gates.index(0.95, T), True, "0.9500 of the exact best 100"),
        (gates.index(0.9, T), False, "the index finds 0.9000 of the exact best 100, and 0.95 is the least"),
        (gates.golden([], True), True, "as where the bundle was made"),
        (gates.golden([], False), None, "an earlier version wrote it"),
        (gates.golden(["user 0: x", "user 1: y"], True), False, "2 lists are not what the bundle gave: user 0: x"),
        (gates.signature([]), True, "takes all requests"),
        (gates.signature(["it is other", "and more"]), False, "do not fit: it is other; and more"),
        (gates.popularity("user_ndcg@10", Difference(0.1, 0.2, 0.05, 0.15), 9), True, "shown to be better"),
        (
            gates.popularity("user_ndcg@10", Difference(0.1, 0.1, -0.02, 0.02), 9),
            False,
            "not shown to be better, by 0.0200",
        ),
    ],
)
def test_guards_say_by_how_much(gate, passed, words):
    assert gate.passed is passed and words in gate.told and "\n" not in gate.told


@pytest.mark.parametrize(
    ("since", "until", "passed", "words"),
    [
        (11, {"version 2": 10, "version 1": 7}, True, "after all that version 2 and version 1 know"),
        (
            10,
            {"version 2": 10, "version 1": 7},
            False,
            "version 2 knows interactions until 10, and the window begins at 10",
        ),
        (8, {"version 2": 7, "version 1": 9}, False, "3 of the window's interactions are not later"),
        (None, {"version 2": 7, "version 1": None}, False, "version 1 does not say until when it knows"),
    ],
)
def test_the_window_is_later_than_all_that_is_known(since, until, passed, words):
    gate = gates.cut_off(since, until, dict.fromkeys(until, 3))
    assert gate.passed is passed and words in gate.told


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"quality": -0.1}, {"latency": math.inf}, {"resamples": 0}])
def test_tolerances_that_mean_nothing_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        dataclasses.replace(T, **wrong)
