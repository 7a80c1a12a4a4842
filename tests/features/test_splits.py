"""Splits: their proportions, who knows what, their hashes, and the protocol of each."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import InputError
from features.splits import SPLITS, TEST, TRAIN, VALIDATION, make_split


def _dataset(rows: list[tuple[int, int, int]], **more) -> Dataset:
    log = pl.DataFrame(rows, schema={"user_id": pl.Int64, "item_id": pl.Int64, "timestamp": pl.Int64}, orient="row")
    return Dataset.construct("x", log, **more)


def _random(n: int = 1000) -> Dataset:
    random = np.random.default_rng(1)
    columns = (random.integers(0, 50, n), random.integers(0, 100, n), random.integers(0, 10_000, n))
    return _dataset(list(zip(*(column.tolist() for column in columns), strict=True)))


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_is_a_part_for_each_interaction_and_repeats(name: str) -> None:
    dataset = _random()
    split = make_split(name, dataset)
    assert split.parts.dtype == np.uint8
    assert len(split.parts) == 1000
    assert all(split.counts[part] > 0 for part in ("train", "validation", "test"))
    assert make_split(name, dataset).sha256 == split.sha256
    assert name in repr(split)


def test_random_proportions_are_exact_and_seeded() -> None:
    dataset = _random()
    split = make_split("random", dataset)
    assert split.counts == {"train": 800, "validation": 100, "test": 100}
    assert (split.seen, split.test_history) == ("train", "train")
    other = make_split("random", dataset, seed=1)
    assert 100 < (other.parts != split.parts).sum() < 500  # a third differs by chance
    whole = make_split("random", dataset, train=0.9, validation=0.05)
    assert (whole.counts["train"], whole.counts["validation"]) == (900, 50)


def test_the_hash_is_of_parts_settings_and_interactions() -> None:
    one = _random()
    moved = Dataset.construct("x", one.interactions.with_columns(pl.col("timestamp") + 1))
    hashes = {make_split("random", one).sha256, make_split("random", one, seed=1).sha256}
    hashes |= {make_split("random", moved).sha256, make_split("leave-one-out", one).sha256}
    assert len(hashes) == 4
    renamed = Dataset.construct("y", one.interactions)
    assert make_split("random", renamed).sha256 in hashes


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=40))
def test_leave_one_out_takes_the_last_two_of_each_user(rows: list[tuple[int, int, int]]) -> None:
    if max(np.bincount([user for user, _, _ in rows])) < 3:
        with pytest.raises(InputError, match="no user of 'x' has three interactions"):
            make_split("leave-one-out", _dataset(rows))
        return
    split = make_split("leave-one-out", _dataset(rows))
    for user in range(6):
        places = sorted((when, at) for at, (one, _, when) in enumerate(rows) if one == user)
        parts = [int(split.parts[at]) for _, at in places]
        expected = [TRAIN] * (len(parts) - 2) + [VALIDATION, TEST] if len(parts) >= 3 else [TRAIN] * len(parts)
        assert parts == expected
    assert (split.seen, split.test_history) == ("train+validation", "train+validation")


def test_time_parts_do_not_overlap_and_ties_stay_together() -> None:
    dataset = _random()
    split = make_split("time", dataset)
    times = dataset.interactions["timestamp"].to_numpy()
    assert times[split.parts == TRAIN].max() < times[split.parts == VALIDATION].min()
    assert times[split.parts == VALIDATION].max() < times[split.parts == TEST].min()
    assert abs(split.counts["test"] - 100) <= 2
    given_cuts = make_split("time", dataset, **split.settings)
    assert given_cuts.sha256 == split.sha256  # a split is named by its cut-offs, however they were found
    tied = make_split("time", _dataset([(0, 0, 1), (0, 1, 2), (0, 2, 2), (0, 3, 2)]), validation=0, test=0.25)
    assert tied.parts.tolist() == [TRAIN, TEST, TEST, TEST]


def test_time_needs_time() -> None:
    with pytest.raises(InputError, match="leaves no interaction for train"):
        make_split("time", _dataset([(0, 0, 5), (0, 1, 5)]))
    with pytest.raises(InputError, match="validation begins at 9, after test at 3"):
        make_split("time", _random(), validation_from=9, test_from=3)
    with pytest.raises(InputError, match="no interaction for test"):
        make_split("time", _random(), test_from=10**9)


def test_cold_items_are_withheld_whole() -> None:
    dataset = _random()
    split = make_split("cold-items", dataset, validation=0.1, test=0.2, seed=3)
    items = dataset.interactions["item_id"].to_numpy()
    of_part = [set(items[split.parts == part]) for part in (TRAIN, VALIDATION, TEST)]
    assert [len(one) for one in of_part] == [70, 10, 20]
    assert not of_part[0] & of_part[1] | of_part[0] & of_part[2] | of_part[1] & of_part[2]
    assert (split.seen, split.test_history) == ("train", "train")
    with pytest.raises(InputError, match="leaves none to train on"):
        make_split("cold-items", _dataset([(0, 0, 0), (0, 1, 1)]))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ratio", {}, "no split 'ratio'; the splits are random, leave-one-out, time, cold-items"),
        ("random", {"sed": 1}, "the split 'random' has no setting 'sed'; it has train, validation, seed"),
        ("random", {"train": "most"}, "'train' of the split 'random' is float, got 'most'"),
        ("random", {"train": 1.2}, "train is a share in .0, 1., got 1.2"),
        ("random", {"train": 0.8, "validation": 0.2}, "leave nothing"),
        ("leave-one-out", {"seed": 1}, "has no setting 'seed'; it has none"),
    ],
)
def test_bad_settings_are_named(name: str, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_split(name, _random(), **settings)
