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
from recsys.matching.targets import best_of_each_other


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


@pytest.mark.parametrize("shared", [0.2, 0.5, 0.95])
def test_matches_are_found_and_errors_are_foreseen(shared: float) -> None:
    left, right, place = shops(shared=shared)
    pairs = block(left, right).pairs
    alike = Comparison(left, right).similarities(pairs)
    inside = [block(one, one).pairs for one in (left, right)]
    both = Records("both", pl.Series("id", range(2 * len(left))), pl.concat([left.values, right.values]))
    rows = [
        np.concatenate([a, b + len(left)])
        for a, b in ((inside[0].left_rows, inside[1].left_rows), (inside[0].right_rows, inside[1].right_rows))
    ]
    strangers = RecordPairs(both, both, *rows)
    learned = self_trained(pairs, alike, (strangers, Comparison(left, right).similarities(strangers)))
    called = learned.log_odds(pairs, alike) >= learned.threshold
    right_ones = called & (place[pairs.left_rows] == pairs.right_rows)
    precision, recall = right_ones.sum() / called.sum(), right_ones.sum() / (place >= 0).sum()
    assert precision > 0.75 and recall > 0.9
    assert abs(learned.precision - precision) < 0.2
    assert all(-7 < one < 7 for one in learned.worth) and list(learned.worth) == sorted(learned.worth)


def test_what_was_learned_is_kept_as_json() -> None:
    left, right, _ = shops(80)
    pairs = block(left, right).pairs
    alike = Comparison(left, right).similarities(pairs)
    learned = self_trained(pairs, alike)
    again = SelfTrained.from_json(json.loads(json.dumps(learned.to_json())))
    assert again == learned
    np.testing.assert_array_equal(again.log_odds(pairs, alike), learned.log_odds(pairs, alike))
    with pytest.raises(InputError, match="is nothing that was trained"):
        SelfTrained.from_json({"names": ["characters"]})
    with pytest.raises(InputError, match="given to what has learned from others"):
        learned.log_odds(pairs, Similarities(("words",), alike.values[:, :1]))


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
    alike = Comparison(table).similarities(pairs)
    learned = self_trained(pairs, alike)
    assert np.isfinite(learned.log_odds(pairs, alike)).all()
    with pytest.raises(InputError, match="no candidates"):
        self_trained(pairs.take(np.zeros(0, int)), Similarities(alike.names, alike.values[:0]))


def test_best_of_each_other_in_one_table_and_in_two() -> None:
    table = Records.of("one", pl.DataFrame({"id": [1, 2, 3], "title": ["a", "b", "c"]}))
    other = Records.of("two", pl.DataFrame({"id": [1, 2, 3], "title": ["a", "b", "c"]}))
    rows = np.array([0, 0, 1]), np.array([1, 2, 2])
    every = np.ones(3, bool)
    score = np.array([3.0, 2.0, 2.5])
    assert best_of_each_other(RecordPairs(table, table, *rows), score, every).tolist() == [True, False, False]
    assert best_of_each_other(RecordPairs(table, other, *rows), score, every).tolist() == [True, False, True]
