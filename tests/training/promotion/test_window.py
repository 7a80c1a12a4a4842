"""The window: who is asked what, against a count by hand; and what cannot be a window."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset
from features.errors import InputError
from features.schema import Categorical, FeatureSchema, Id, Sequence
from training.promotion.moments import moment, told
from training.promotion.window import Window

LOG = [  # user, item, time
    ("a", "tea", 10),
    ("a", "ink", 20),
    ("b", "tea", 15),
    ("c", "pen", 5),
    ("a", "tea", 30),  # again
    ("b", "pen", 31),
    ("b", "ink", 35),
    ("b", "pen", 36),  # twice in the window
    ("d", "cup", 40),  # neither was there before
    ("c", "pen", 41),  # again, and nothing else
]


@pytest.fixture
def dataset() -> Dataset:
    schema = FeatureSchema((Id("user_id"), Categorical("city"), Sequence("history")), (Id("item_id"),))
    users = pl.DataFrame({"user_id": ["a", "b", "c", "d", "e"], "city": ["x"] * 5})
    return Dataset.construct(
        "notes", pl.DataFrame(LOG, ["user_id", "item_id", "timestamp"], orient="row"), None, users, schema
    )


def asked(window: Window) -> dict[str, tuple[list[str], list[str]]]:
    """Each asked user's history and targets."""
    prepared, evaluation = window.evaluation.prepared, window.evaluation
    return {
        prepared.users.ids_of(np.array([row]))[0]: tuple(
            prepared.items.ids_of(one.row(row)).to_list() for one in (evaluation.histories, evaluation.targets)
        )
        for row in evaluation.users
    }


@pytest.mark.parametrize("shuffled", [False, True])
def test_histories_end_where_the_window_begins_and_targets_are_new_to_their_user(dataset, shuffled):
    if shuffled:
        log = dataset.interactions.sample(fraction=1.0, shuffle=True, seed=3)
        dataset = dataclasses.replace(dataset, interactions=log)
    window = Window.of(dataset, 30, new_only=True)
    assert asked(window) == {"b": (["tea"], ["pen", "ink"]), "d": ([], ["cup"])}
    assert (window.users, window.targets, window.since, window.until) == (2, 3, 30, 41)
    assert window.evaluation.seen is not None
    again = Window.of(dataset, 30, new_only=False)
    assert asked(again) == {
        "a": (["tea", "ink"], ["tea"]),
        "b": (["tea"], ["pen", "ink"]),
        "c": (["pen"], ["pen"]),
        "d": ([], ["cup"]),
    }
    assert again.evaluation.seen is None and again.sha256 != window.sha256
    assert window.evaluation.histories.times.tolist() == again.evaluation.histories.times.tolist()


def test_items_that_hardly_anybody_had_before_are_cold(dataset):
    window = Window.of(dataset, 30, True, cold_below=2)
    items = window.evaluation.prepared.items.ids.to_list()
    assert {one for one, cold in zip(items, window.cold.tolist(), strict=True) if cold} == {"ink", "pen", "cup"}


def test_of_many_users_always_the_same_are_asked(dataset):
    one, other = (Window.of(dataset, 30, False, users=2) for _ in range(2))
    assert one.users == 2 and one.in_all == 4 and asked(one) == asked(other)
    assert "2 of 4 users" in str(one) and "from 30 to 41: 4 users" in str(Window.of(dataset, 30, False))


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (42, "nothing of notes is in the window from 42 on: its interactions are from 5 to 41"),
        (5, "nothing of notes is before the window from 5 on"),
        (41, "its users had before"),
    ],
)
def test_an_empty_window_is_refused(dataset, since, words):
    with pytest.raises(InputError, match=words):
        Window.of(dataset, since, new_only=True)


def test_an_order_is_no_time(dataset):
    with pytest.raises(InputError, match="have no times, only an order"):
        Window.of(dataclasses.replace(dataset, dated=False), 30, True)


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_dates_are_read_in_the_unit_of_the_data(unit):
    latest = 1_717_000_000 * unit
    day = 1_714_521_600 * unit
    assert moment("2024-05-01", latest) == moment("2024-05-01T02:00+02:00", latest) == day
    assert moment(str(day), latest) == day and told(day) == f"{day} (2024-05-01 00:00:00)"


def test_what_is_no_moment_is_refused():
    with pytest.raises(InputError, match="neither a number nor a date"):
        moment("yesterday", 1_717_000_000)
    with pytest.raises(InputError, match="are no dates; give a number, not '2024-05-01'"):
        moment("2024-05-01", 41)
    assert moment("-3", 41) == -3 and told(41) == "41"
