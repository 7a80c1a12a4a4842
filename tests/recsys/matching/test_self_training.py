"""Matching without labels: what the data say by themselves is right, and known to be as right as it is."""

import json

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.blocking.blocker import block
from recsys.matching.self_training import SelfTrained, self_trained
from recsys.matching.similarities import Comparison, Similarities
from recsys.matching.targets import Candidacies, Targets, targets_of

#: of pairs
ROWS = ("left_rows", "right_rows")


def shops(n: int = 300, shared: float = 0.5, seed: int = 0) -> tuple[Records, Records, np.ndarray]:
    """Two shops that share some of their things, told with typing errors; the third is the right row of each left."""
    random = np.random.default_rng(seed)
    words = ["".join(random.choice(list("abcdefghiklmnoprstuw"), 6)) for _ in range(80)]

    def thing() -> tuple[str, str]:
        return " ".join(random.choice(words, 4)), f"{random.uniform(1, 99):.2f}"

    def mistyped(text: str) -> str:
        for _ in range(3):
            at = int(random.integers(len(text)))
            text = text[:at] + random.choice(list("abcdefg")) + text[at + 1 :]
        return text

    left = [thing() for _ in range(n)]
    same = random.random(n) < shared
    right = [(mistyped(title), price) if both else thing() for (title, price), both in zip(left, same, strict=True)]
    order = random.permutation(n)
    told = [pl.DataFrame(rows, schema=["title", "price"], orient="row") for rows in (left, [right[k] for k in order])]
    tables = [
        Records.of(name, one.with_columns(id=pl.int_range(n)))
        for name, one in zip(("left", "right"), told, strict=True)
    ]
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    return *tables, np.where(same, place, -1)


def learned_from(left: Records, right: Records) -> tuple[RecordPairs, np.ndarray, SelfTrained]:
    """Candidates, their log-odds less the threshold, and what was learned."""
    pairs, comparison = block(left, right).pairs, Comparison(left, right)
    inside = [block(one, one).pairs for one in (left, right)]
    both = Records("both", pl.Series("id", range(len(left) + len(right))), pl.concat([left.values, right.values]))
    rows = [np.concatenate([getattr(inside[0], side), getattr(inside[1], side) + len(left)]) for side in ROWS]
    strangers = RecordPairs(both, both, *rows)
    candidacies, alike = Candidacies.of(pairs), comparison.similarities(pairs)
    learned = self_trained(candidacies, alike, (Candidacies.of(strangers), comparison.similarities(strangers)))
    return pairs, learned.log_odds(candidacies, alike) - learned.threshold, learned


@pytest.mark.parametrize("shared", [0.1, 0.5, 0.95])
def test_matches_are_found_and_errors_are_foreseen(shared: float) -> None:
    left, right, place = shops(600, shared)
    pairs, log_odds, learned = learned_from(left, right)
    called = log_odds >= 0
    right_ones = called & (place[pairs.left_rows] == pairs.right_rows)
    precision, recall = right_ones.sum() / called.sum(), right_ones.sum() / (place >= 0).sum()
    assert precision > 0.75 and recall > 0.9
    assert abs(learned.precision - precision) < 0.25


def test_nothing_is_called_where_nothing_is_shared() -> None:
    left, right, _ = shops(600, 0.0)
    _, log_odds, learned = learned_from(left, right)
    assert log_odds.max() < -1e-6 and learned.precision < 0.5  # by more than what is added at the threshold


def test_the_very_same_is_surer_than_the_threshold() -> None:
    left, _, _ = shops(300)
    right = Records("right", left.ids, left.values)
    pairs, log_odds, _ = learned_from(left, right)
    assert (log_odds[pairs.left_rows == pairs.right_rows] > 0.5).all()


@pytest.mark.parametrize("size", [2, 3])
def test_groups_in_one_table_are_found(size: int) -> None:
    """Each thing is told several times, in one table: pairs that are second best are pairs, too."""
    left, _, _ = shops(200)
    random = np.random.default_rng(1)

    def told(title: str, n: int) -> str:
        at = int(random.integers(len(title)))
        return title if not n else f"{title[:at]}z{title[at + 1 :]}"

    rows = [(told(title, n), price) for title, price in left.values.rows() for n in range(size)]
    frame = pl.DataFrame(rows, schema=["title", "price"], orient="row").with_columns(id=pl.int_range(len(rows)))
    table = Records.of("one", frame)
    pairs = block(table, table).pairs
    candidacies, alike = Candidacies.of(pairs, several=True), Comparison(table).similarities(pairs)
    learned = self_trained(candidacies, alike)
    called = learned.log_odds(candidacies, alike) >= learned.threshold
    same = pairs.left_rows // size == pairs.right_rows // size
    assert (called & same).sum() / (200 * size * (size - 1) // 2) > 0.9 and (called & same).sum() / called.sum() > 0.85


@pytest.mark.parametrize("several", [False, True])
def test_targets_alone_are_those_that_are_counted(several: bool) -> None:
    left, right, _ = shops(120)
    pairs = block(left, right).pairs
    candidacies = Candidacies.of(pairs, several=several)
    for seed in range(5):
        score = np.random.default_rng(seed).normal(size=len(pairs))
        target = targets_of(candidacies, score)
        np.testing.assert_array_equal(target, Targets.of(candidacies, score).target)
    assert several or (target == candidacies.mutual(score, np.ones(len(pairs), bool))).all()


def test_a_pair_is_judged_by_itself_where_that_is_asked() -> None:
    left, right, _ = shops(120)
    pairs = block(left, right).pairs
    candidacies, alike = Candidacies.of(pairs), Comparison(left, right).similarities(pairs)
    learned = self_trained(candidacies, alike)
    alone = learned.log_odds(candidacies, alike, each_alone=True)
    np.testing.assert_allclose(alone, learned.scores(alike) * learned.scale + learned.shift)
    beside = learned.log_odds(candidacies, alike)
    assert (beside <= alone).all() and (beside < alone).any()


def test_what_was_learned_is_kept_as_json() -> None:
    left, right, _ = shops(80)
    pairs = block(left, right).pairs
    candidacies, alike = Candidacies.of(pairs), Comparison(left, right).similarities(pairs)
    learned = self_trained(candidacies, alike)
    again = SelfTrained.from_json(json.loads(json.dumps(learned.to_json())))
    assert again == learned
    np.testing.assert_array_equal(again.log_odds(candidacies, alike), learned.log_odds(candidacies, alike))
    with pytest.raises(InputError, match="is nothing that was trained"):
        SelfTrained.from_json({"names": ["characters"]})
    with pytest.raises(InputError, match="given to what has learned from others"):
        learned.log_odds(candidacies, Similarities(("words",), alike.values[:, :1]))


def test_numbers_are_compared_where_they_are() -> None:
    left, right, place = shops(100)
    comparison = Comparison(left, right)
    assert comparison.numeric == ["price"]
    some = np.flatnonzero(place >= 0)
    alike = comparison.similarities(RecordPairs(left, right, some, place[some]))
    assert (alike.values[:, alike.names.index("price number")] > 6).all()
    assert (alike.values[:, alike.names.index("price words")] > 0.99).all()


def test_vectors_count_where_something_makes_them() -> None:
    left, right, _ = shops(20)
    vectors = {table: np.eye(20, 4, dtype="f4") for table in (left, right)}
    alike = Comparison(left, right, encode=vectors.__getitem__).similarities(
        RecordPairs(left, right, np.array([0, 0]), np.array([0, 1]))
    )
    assert alike.values[:, alike.names.index("vectors")].tolist() == [1.0, 0.0]


def test_few_pairs_are_no_error() -> None:
    table = Records.of("one", pl.DataFrame({"id": [1, 2, 3], "title": ["rose soap", "soap, rose", "ink"]}))
    pairs = block(table, table).pairs
    candidacies, alike = Candidacies.of(pairs, several=True), Comparison(table).similarities(pairs)
    assert np.isfinite(self_trained(candidacies, alike).log_odds(candidacies, alike)).all()
    with pytest.raises(InputError, match="no candidates"):
        self_trained(Candidacies.of(pairs.take(np.zeros(0, int))), Similarities(alike.names, alike.values[:0]))


def test_best_of_each_other_by_table_and_by_source() -> None:
    table = Records.of("one", pl.DataFrame({"id": [1, 2, 3], "title": ["a", "b", "c"]}))
    other = Records.of("two", pl.DataFrame({"id": [1, 2, 3], "title": ["a", "b", "c"]}))
    rows = np.array([0, 0, 1]), np.array([1, 2, 2])
    every, score = np.ones(3, bool), np.array([3.0, 2.0, 2.5])
    of_one = RecordPairs(table, table, *rows)
    assert Candidacies.of(of_one).mutual(score, every).tolist() == [True, False, False]
    assert Candidacies.of(RecordPairs(table, other, *rows)).mutual(score, every).tolist() == [True, False, True]
    # three sources of a record each: each is the best of its source
    assert Candidacies.of(of_one, np.arange(3)).mutual(score, every).tolist() == [True, True, True]
