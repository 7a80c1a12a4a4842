"""Candidates of two tables and of one, what they lose, and why."""

import numpy as np
import polars as pl
import pytest

from features.errors import InputError
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.blocking.blocker import BlockingConfig, block
from recsys.blocking.lost import likely_lost, lost_matches
from recsys.blocking.report import report, same_of

WORDS = ["rose", "soap", "lamp", "chair", "ink", "pen", "cup", "oil", "tea", "jar", "map", "bag"]


def tables(n: int = 60, seed: int = 0) -> tuple[Records, Records, RecordPairs]:
    """The same things told by two shops, the second with a typing error in each."""
    random = np.random.default_rng(seed)
    told = [f"{' '.join(random.choice(WORDS, 3))} {n}{random.choice(list('xyz'))}{n * 7}" for n in range(100, 100 + n)]

    def mistyped(text: str) -> str:
        at = int(random.integers(len(text) - 1))
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]

    order = random.permutation(n)
    left = Records.of("left", pl.DataFrame({"id": range(n), "title": told, "maker": ["ada", "bo"] * (n // 2)}))
    other = {"id": [f"r{n}" for n in order], "title": [mistyped(told[n]) for n in order], "maker": [""] * n}
    right = Records.of("right", pl.DataFrame(other))
    return left, right, RecordPairs(left, right, order, np.arange(n))


@pytest.mark.parametrize("ways", [("characters",), ("words",), ("characters", "words")])
def test_matches_are_among_few_candidates(ways: tuple[str, ...]) -> None:
    left, right, same = tables()
    found = block(left, right, BlockingConfig(ways, candidates=3))
    assert len(found) == 180 and found.per_record == 3 and len(np.unique(found.pairs.codes())) == 180
    said = report(found, same)
    assert said.recall >= 0.9 and said.matches == 60 and said.reduction == 1 - 180 / 3600
    assert said.curve["recall"].is_sorted() and said.curve["recall"][-1] == said.recall
    assert (np.diff(found.strength) <= 0).all()


def test_vectors_are_searched_from_both_sides() -> None:
    left, right, same = tables(20)
    random = np.random.default_rng(1)
    things = random.normal(size=(20, 8))
    vectors = {left: things, right: things[same.left_rows] + 0.01 * random.normal(size=(20, 8))}
    found = block(left, right, BlockingConfig(("vectors",), candidates=1), lambda table: vectors[table].astype("f4"))
    assert report(found, same).recall == 1 and (found.ranks[:, 0] == 0).all()
    with pytest.raises(InputError, match="nothing is given that makes vectors"):
        block(left, right, BlockingConfig(("vectors",)))


@pytest.mark.parametrize("ways", [("characters",), ("vectors",)])
def test_duplicates_of_one_table_are_paired_once(ways: tuple[str, ...]) -> None:
    left, right, same = tables(30)
    both = pl.concat([left.values, right.values])
    table = Records.of("both", both.with_columns(id=pl.int_range(60)))
    things = np.random.default_rng(1).normal(size=(30, 8)).astype("f4")
    vectors = np.concatenate([things, things[same.left_rows]])
    found = block(table, table, BlockingConfig(ways, candidates=4), lambda _: vectors)
    assert (found.left_rows < found.right_rows).all() and len(np.unique(found.pairs.codes())) == len(found) == 120
    matches = RecordPairs(table, table, 30 + same.right_rows, same.left_rows)  # the higher row first
    assert report(found, matches).recall >= 0.95
    assert found.per_record == 4


def test_a_record_without_words_has_no_candidates() -> None:
    left = Records.of("left", pl.DataFrame({"id": [1, 2], "title": ["", "rose soap"]}))
    right = Records.of("right", pl.DataFrame({"id": [1], "title": ["soap of roses"]}))
    assert block(left, right).pairs.frame().rows() == [(2, 1)]
    nothing = Records.of("nothing", pl.DataFrame({"id": [1], "title": [""]}))
    found = block(left, nothing)
    assert len(found) == 0 and report(found, RecordPairs(left, nothing, np.array([1]), np.array([0]))).recall == 0
    assert lost_matches(found, RecordPairs(left, nothing, np.array([1]), np.array([0])))["why"].to_list() == [
        "they share no term"
    ]


def test_what_is_lost_is_listed_with_what_is_shared() -> None:
    left, right, same = tables()
    found = block(left, right, BlockingConfig(candidates=1))
    keep = found.take(np.flatnonzero(found.left_rows != 7))
    row = int(np.flatnonzero(same.left_rows == 7)[0])
    lost = lost_matches(keep, same)
    assert (7, right.ids[row]) in lost.select("left_id", "right_id").rows()
    assert lost["similar"].is_sorted(descending=True) and lost["maker"].null_count() == lost.height
    likely = likely_lost(keep, n=3)
    assert (7, right.ids[row]) in likely.select("left_id", "right_id").rows() and likely.height <= 3
    assert set(likely["by"]) <= {"title", "maker", "words"}


def test_each_way_says_what_it_alone_finds() -> None:
    left, right, same = tables()
    said = report(block(left, right, BlockingConfig(("characters", "words"), candidates=5)), same)
    assert said.ways["way"].to_list() == ["characters", "words"]
    assert (said.ways["alone"] <= said.ways["recall"]).all() and "known matches" in str(said)
    assert report(block(left, right)).recall is None


def test_known_matches_count_once() -> None:
    left, right, same = tables(4)
    labels = np.array([True, False, True, True])
    twice = np.array([0, 1, 2, 0])
    pairs = RecordPairs(left, right, same.left_rows[twice], same.right_rows[twice], labels[twice])
    assert len(same_of(pairs)) == 2


def test_settings_are_named() -> None:
    left, right, _ = tables(4)
    with pytest.raises(InputError, match=r"blocking.ways are different ones of characters, words, vectors, got magic"):
        BlockingConfig(("magic",))
    with pytest.raises(InputError, match=r"blocking.candidates is above 0, got 0"):
        BlockingConfig(candidates=0)
    with pytest.raises(InputError, match=r"blocking.attributes names 'colour', and the records have title, maker"):
        block(left, right, BlockingConfig(attributes=("colour",)))
