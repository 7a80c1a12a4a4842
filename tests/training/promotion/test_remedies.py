"""What helps whoever is refused: true of the versions, and as good as it says."""

import dataclasses
import re
from types import SimpleNamespace

import pytest

from serving.bundles.manifest import Manifest
from training.promotion import Tolerances, gates
from training.promotion.gates import Difference
from training.promotion.remedies import past_the_data, ways_on


def manifest(split: str, until: int | None = 100, refitted: bool = False) -> Manifest:
    return Manifest("retriever", 1, 1, 1, data={"known_until": until}, split={"name": split}, refitted=refitted)


@pytest.mark.parametrize(
    ("bundles", "told"),
    [
        ({"version 2": manifest("random", 99)}, None),
        ({"version 2": manifest("time", None)}, None),
        (
            {"version 2": manifest("random")},
            "version 2 was split at random, so it knows the latest of them: train with --split time, bring newer data, "
            "or promote with --no-gates --why TEXT",
        ),
        (
            {"version 2": manifest("leave-one-out"), "version 1 (the champion)": manifest("time", 70)},
            "version 2 was split by leave-one-out, so it knows the latest of them: train with --split time, bring "
            "newer data, or promote with --no-gates --why TEXT",
        ),
        (
            {"version 2": manifest("time", refitted=True)},
            "version 2 was refitted on all of its data, so it knows the latest of them: train without --refit, bring "
            "newer data, or promote with --no-gates --why TEXT",
        ),
        (
            {"version 2": manifest("random", refitted=True)},
            "version 2 was refitted on all of its data, so it knows the latest of them: train with --split time and "
            "without --refit, bring newer data, or promote with --no-gates --why TEXT",
        ),
        (
            {"version 2": manifest("time", 120)},
            "version 2 knows interactions until 120: bring newer data, or promote with --no-gates --why TEXT",
        ),
        (
            {"version 2": manifest("random"), "version 1 (the champion)": manifest("time", refitted=True)},
            "version 2 was split at random, so it knows the latest of them, and version 1 (the champion) was refitted "
            "on all of its data, so it knows the latest of them: bring newer data, or promote with --no-gates --why "
            "TEXT",
        ),
    ],
)
def test_only_what_is_true_and_would_help_is_named(bundles, told) -> None:
    assert past_the_data(bundles, latest=100) == told


def test_a_named_allowance_is_enough_and_none_is_named_against_what_is_shown() -> None:
    window = SimpleNamespace(since=50, users=30, in_all=30)
    little, worse = Difference(0.2, 0.2, -0.0075, 0.007), Difference(0.2, 0.15, -0.06, -0.04)
    failed = [gates.quality("user_ndcg@10", little, 30, Tolerances())]
    assert failed[0].passed is False
    told = ways_on(failed, window, earliest=50)
    share = float(re.search(r"--gate quality=([0-9.]+) allows", told)[1])
    assert gates.quality("user_ndcg@10", little, 30, Tolerances(quality=share)).passed
    assert not gates.quality("user_ndcg@10", little, 30, Tolerances(quality=share - 0.01)).passed
    assert told.endswith("newer data has a longer window, or promote with --no-gates --why TEXT")
    assert ways_on([*failed, gates.quality("recall@100", worse, 30, Tolerances())], window, 50) is None
    assert ways_on([*failed, dataclasses.replace(failed[0], name="index", passes_at=None)], window, 50) is None
    assert ways_on([], window, 50) is None and ways_on(failed, None, None) is None


def test_a_longer_window_is_where_there_is_one() -> None:
    failed = [gates.quality("user_ndcg@10", Difference(0.2, 0.2, -0.0075, 0.007), 30, Tolerances())]
    assert "a --since from 40 on is a longer window" in ways_on(
        failed, SimpleNamespace(since=50, users=30, in_all=30), 40
    )
    assert "--gate users=0 asks all 30,000" in ways_on(failed, SimpleNamespace(since=50, users=9, in_all=30_000), 50)
