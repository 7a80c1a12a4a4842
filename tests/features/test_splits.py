"""Splits: their proportions, who knows what, their hashes, and the protocol of each."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import InputError
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, Sequence
from features.splits import CONTEXT, PARTS, SPLITS, TEST, TRAIN, VALIDATION, make_split


def _dataset(rows: list[tuple[int, int, int]], **more) -> Dataset:
    log = pl.DataFrame(rows, schema={"user_id": pl.Int64, "item_id": pl.Int64, "timestamp": pl.Int64}, orient="row")
    return Dataset.construct("x", log, **more)


def _random(n: int = 1000) -> Dataset:
    random = np.random.default_rng(1)
    columns = (random.integers(0, 50, n), random.integers(0, 100, n), random.integers(0, 10_000, n))
    dataset = _dataset(list(zip(*(column.tolist() for column in columns), strict=True)))
    part = pl.Series("part", np.where(columns[0] < 10, "test", "train"))
    return Dataset.construct("x", dataset.interactions.with_columns(part))


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
    assert split.counts == {"train": 800, "validation": 100, "test": 100, "context": 0}
    assert (split.seen, split.test_history) == ("train", "train")
    other = make_split("random", dataset, seed=1)
    assert 100 < (other.parts != split.parts).sum() < 500  # a third differs by chance
    whole = make_split("random", dataset, train=0.9, validation=0.05)
    assert (whole.counts["train"], whole.counts["validation"]) == (900, 50)


def test_shares_of_each_user_are_rounded_and_seeded() -> None:
    sizes = {0: 1, 1: 2, 2: 3, 3: 5, 4: 10, 5: 26, 6: 1000}
    dataset = _dataset([(user, item, 0) for user, n in sizes.items() for item in range(n)][::-1])
    split = make_split("random", dataset, of="users")
    users = dataset.interactions["user_id"].to_numpy()
    found = {user: np.bincount(split.parts[users == user], minlength=3).tolist() for user in sizes}
    assert found == {
        0: [1, 0, 0],
        1: [2, 0, 0],
        2: [2, 1, 0],
        3: [4, 1, 0],
        4: [8, 1, 1],
        5: [21, 2, 3],
        6: [800, 100, 100],
    }
    mine = split.parts[users == 6]
    assert (mine != np.sort(mine)).sum() > 200  # in no order
    other = make_split("random", dataset, of="users", seed=1)
    assert (other.parts != split.parts).any() and other.sha256 != split.sha256
    with pytest.raises(InputError, match="'of' of the split 'random' is 'all' or 'users', got 'items'"):
        make_split("random", dataset, of="items")


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
    kept = make_split("leave-one-out", _dataset(rows), seen="none")
    assert kept.seen == "none" and kept.sha256 != split.sha256 and (kept.parts == split.parts).all()


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


@pytest.mark.parametrize("timed", [False, True])
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7), st.integers(0, 4)), min_size=30, max_size=60))
def test_histories_of_cold_items_can_end_before_the_targets(timed: bool, rows: list[tuple[int, int, int]]) -> None:
    dataset = _dataset(rows, schema=FeatureSchema(user=(Sequence("history", timed=timed),), item=(Id("item_id"),)))
    if dataset.interactions["item_id"].n_unique() < 3:
        return
    split, whole = (make_split("cold-items", dataset, history=history) for history in ("before", "all"))
    assert (split.parts == whole.parts).all() and split.sha256 != whole.sha256
    assert whole.sha256 == make_split("cold-items", dataset).sha256
    prepared, unlimited = Prepared.of(dataset, split), Prepared.of(dataset, whole)
    for user, name in enumerate(prepared.users.ids.to_list()):
        mine = sorted((when, at) for at, (one, _, when) in enumerate(rows) if one == name)
        for part, told in ((VALIDATION, "validation"), (TEST, "test")):
            first = next((place for place, (_, at) in enumerate(mine) if split.parts[at] == part), len(mine))
            kept = [at for _, at in mine[:first] if split.parts[at] == TRAIN]
            history = getattr(prepared, f"{told}_histories")
            expected = prepared.item_rows[kept].tolist()
            assert history.row(user).tolist() == prepared.seen(told).row(user).tolist() == expected
            if timed:
                times = history.times[history.offsets[user] : history.offsets[user + 1]]
                assert times.tolist() == [rows[at][2] for at in kept]
            assert getattr(unlimited, f"{told}_histories").row(user).tolist() == unlimited.train.row(user).tolist()
        assert prepared.train.row(user).tolist() == unlimited.train.row(user).tolist()


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (["train", "test", "context"], "puts 1 of them into histories .* 'test' item, such as the 'context' item 2 of"),
        (["train", "test", "validation"], "'test' item, such as the 'validation' item 2 of the user 0"),
        (["validation", "train", "test"], "'validation' item, such as the 'train' item 1 of the user 0"),
        (["test", "train", "train"], "puts 2 of them .* 'test' item, such as the 'train' item 1 of the user 0"),
        (["train", "validation", "test"], None),
        (["context", "validation", "validation"], None),
        (["train", "test", "test"], None),
    ],
)
def test_given_parts_that_know_what_comes_later_are_refused(parts: list[str], told: str | None) -> None:
    """Equal times count in the order of the file, and other users' parts are their own affair."""
    others = [(8, 0, 0, "test"), (8, 1, 1, "test"), (9, 0, 5, "train"), (9, 2, 6, "train"), (9, 1, 7, "validation")]
    columns = ["user_id", "item_id", "timestamp", "part"]
    log = pl.DataFrame([*others, *((0, n, 3, part) for n, part in enumerate(parts))], schema=columns, orient="row")
    dataset = Dataset.construct("x", log)
    if told is None:
        assert make_split("given", dataset).counts["train"] >= 2
        return
    with pytest.raises(InputError, match=told):
        make_split("given", dataset)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ratio", {}, "no split 'ratio'; the splits are random, leave-one-out, time, cold-items, sessions, given"),
        ("random", {"sed": 1}, "the split 'random' has no setting 'sed'; it has train, validation, seed"),
        ("random", {"train": "most"}, "'train' of the split 'random' is float, got 'most'"),
        ("random", {"train": 1.2}, "train is a share in .0, 1., got 1.2"),
        ("random", {"train": 0.8, "validation": 0.2}, "leave nothing"),
        ("leave-one-out", {"seed": 1}, "has no setting 'seed'; it has seen"),
        (
            "leave-one-out",
            {"seen": "train"},
            "the setting 'seen' of the split 'leave-one-out' is 'train.validation' or 'none', got 'train'",
        ),
        ("sessions", {"seed": "last"}, "'seed' of the split 'sessions' is int or 'latest', got 'last'"),
        ("sessions", {"seed": -1}, "'seed' of the split 'sessions' is 0 or more, got -1"),
        ("sessions", {"test": 1.5}, "test is a share in .0, 1., got 1.5"),
    ],
)
def test_bad_settings_are_named(name: str, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_split(name, _random(), **settings)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)), min_size=12, max_size=60),
    st.sampled_from([0, 1, "latest"]),
)
def test_sessions_are_withheld_whole_but_for_their_last_items(
    rows: list[tuple[int, int, int]], seed: int | str
) -> None:
    dataset = _dataset(rows)
    sessions = {user: sorted((when, at) for at, (one, _, when) in enumerate(rows) if one == user) for user in range(10)}
    long_enough = [user for user, places in sessions.items() if len(places) >= 2]
    if len(long_enough) < 2 or dataset.users.height < 3:
        with pytest.raises(InputError, match=r"withheld|has two interactions"):
            make_split("sessions", dataset, seed=seed)
        return
    split = make_split("sessions", dataset, seed=seed)
    withheld = []
    for user, places in sessions.items():
        parts = [int(split.parts[at]) for _, at in places]
        if parts and parts[-1] != TRAIN:
            assert parts[-1] in (VALIDATION, TEST) and set(parts[:-1]) == {CONTEXT}
            withheld.append(user)
        else:
            assert set(parts) <= {TRAIN}
    assert len(withheld) == 2 and set(withheld) <= set(long_enough)
    assert (split.seen, split.counts["validation"], split.counts["test"]) == ("none", 1, 1)
    if seed == "latest":
        ends = {part: rows[int(np.flatnonzero(split.parts == part)[0])][2] for part in (VALIDATION, TEST)}
        others = [places[-1][0] for user, places in sessions.items() if user in long_enough and user not in withheld]
        assert ends[TEST] >= ends[VALIDATION] >= max(others, default=0)
    prepared = Prepared.of(dataset, split)
    for part, histories in ((VALIDATION, prepared.validation_histories), (TEST, prepared.test_histories)):
        (user,) = (user for user in withheld if split.parts[sessions[user][-1][1]] == part)
        assert histories.row(user_row(prepared, user)).tolist() == [
            prepared.item_rows[at] for _, at in sessions[user][:-1]
        ]
        assert not len(prepared.train.row(user_row(prepared, user)))
    assert prepared.item_counts.sum() == split.counts["train"] and prepared.seen("test") is None


def user_row(prepared: Prepared, user: int) -> int:
    return int(prepared.users.rows(pl.Series([user]))[0])


def _said(*parts: str | None, users: list[int] | None = None) -> Dataset:
    n = len(parts)
    columns = {"user_id": users or [0] * n, "item_id": list(range(n)), "timestamp": [0] * n, "part": parts}
    return Dataset.construct("x", pl.DataFrame(columns, schema_overrides={"part": pl.String}))


def test_given_parts_are_those_of_the_column() -> None:
    said = ["train", "context", "train", "validation", "test"]
    dataset = _said(*said)
    split = make_split("given", dataset)
    assert [PARTS[part] for part in split.parts] == said and split.seen == "none"
    prepared = Prepared.of(dataset, split)  # all at the same time: the order of the file counts
    assert prepared.train.row(0).tolist() == [0, 2]
    assert prepared.validation_histories.row(0).tolist() == [0, 1, 2]
    assert prepared.test_histories.row(0).tolist() == [0, 1, 2, 3]
    seen = Prepared.of(dataset, make_split("given", dataset, seen="train+validation"))
    assert seen.seen("validation").row(0).tolist() == [0, 1, 2]
    assert seen.seen("test").row(0).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", [0, "latest"])
def test_validation_is_taken_from_whole_training_sessions_where_none_is_given(seed: int | str) -> None:
    users = np.repeat(np.arange(30), 3).tolist()
    parts = ["train", "train", "train"] * 20 + ["context", "context", "test"] * 5 + ["train", "context", "test"] * 5
    dataset = _said(*parts, users=users)
    split = make_split("given", dataset, validation=0.2, seed=seed)
    assert split.counts == {"train": 48 + 5, "validation": 4, "test": 10, "context": 8 + 15}
    validated = [users[at] for at in np.flatnonzero(split.parts == VALIDATION)]
    assert len(set(validated)) == 4 and max(validated) < 20
    assert all(split.parts[3 * user : 3 * user + 3].tolist() == [CONTEXT, CONTEXT, VALIDATION] for user in validated)
    assert (split.parts[60:] == [PARTS.index(part) for part in parts[60:]]).all()
    assert make_split("given", dataset, validation=0).counts["validation"] == 0


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (_dataset([(0, 0, 0)]), "reads a column 'part' of the interactions, and those of 'x' have only user_id"),
        (_said("train", "dev", None), "holds something else in 2 of 3 rows, such as 'dev'"),
        (_said("train", "train"), "says 'test' nowhere"),
        (_said("context", "test"), "says 'train' nowhere"),
        (_said("train", "train", "test"), "says 'validation' nowhere, and 0 sessions of two training items"),
    ],
)
def test_a_column_of_parts_that_cannot_be_used_is_told(dataset: Dataset, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_split("given", dataset)
