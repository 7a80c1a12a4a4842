import dataclasses

import numpy as np
import polars as pl
import pytest

from features.dataset import Dataset
from features.errors import InputError
from features.labelled import LabelledExamples, LabelRule
from features.prepared import Prepared
from features.schema import Categorical, FeatureSchema, Id, MultiValued, Numeric, Sequence, Text
from features.splits import TEST, TRAIN, VALIDATION, cold_items, make_split, random_ratio

FRAME = pl.DataFrame(
    {
        "app": ["mail", "maps", "mail", "news", None],
        "places": ["home|road", "", "road", "moon", "home"],
        "hour": [1.0, 3.0, 2.0, 100.0, None],
        "stars": [5, 1, 3, 4, 2],
    }
)
PARTS = np.array([TRAIN, TRAIN, TRAIN, TEST, VALIDATION])
FEATURES = (Categorical("app"), MultiValued("places"), Numeric("hour"), Text("note"))


def prepared(users: int = 12, items: int = 9, schema: FeatureSchema | None = None, split=random_ratio) -> Prepared:
    random = np.random.default_rng(3)
    pairs = np.argwhere(random.random((users, items)) < 0.5)
    log = pl.DataFrame(
        {
            "user_id": pairs[:, 0] + 100,
            "item_id": [f"i{item}" for item in pairs[:, 1]],
            "timestamp": random.permutation(len(pairs)),
            "stars": random.integers(1, 6, len(pairs)),
        }
    )
    catalogue = pl.DataFrame({"item_id": [f"i{item}" for item in range(items)], "colour": ["red", "blue", "red"] * 3})
    schema = schema or FeatureSchema(
        user=(Id("user_id"), Sequence("history", max_length=3)), item=(Id("item_id"), Categorical("colour"))
    )
    dataset = Dataset.construct("toy", log, catalogue, schema=schema)
    return Prepared.of(dataset, split(dataset))


def test_a_table_gives_its_examples_in_order_with_the_middle_dropped() -> None:
    examples = LabelledExamples.of_frame(FRAME, FEATURES, LabelRule("stars", at_least=4, at_most=2), PARTS)
    assert examples.labels.tolist() == [1, 0, 1, 0] and examples.parts.tolist() == [TRAIN, TRAIN, TEST, VALIDATION]
    batch = examples.take(np.array([3, 0]))
    assert batch.labels.tolist() == [0, 1] and batch.features.size == 2
    assert batch.features.sparse["app"].lengths.tolist() == [0, 1]  # a null is a value that is not there
    assert batch.features.sparse["places"].lengths.tolist() == [1, 2]
    assert batch.features.dense["hour"].tolist() == [
        0.0,
        -1.0,
    ]  # training's hours are 1 and 3; the missing one is the mean


def test_vocabularies_hold_the_training_part_alone() -> None:
    examples = LabelledExamples.of_frame(FRAME, FEATURES, LabelRule("stars", at_least=4, at_most=2), PARTS)
    assert examples.vocabularies["app"].ids.to_list() == ["mail", "maps"]
    assert examples.vocabularies["places"].ids.to_list() == ["home", "road"]
    assert examples.take(np.array([2])).features.sparse["app"].values.tolist() == [-1]
    assert [feature.name for feature in examples.features] == ["app", "places", "hour"]


@pytest.mark.parametrize(
    ("features", "rule", "message"),
    [
        ([Categorical("none")], LabelRule("stars"), "feature 'none' reads column 'none', which is not there"),
        ([Categorical("app")], LabelRule("clicks"), "labels.column 'clicks' is none of the columns: app"),
        ([Categorical("app")], LabelRule("app"), "label column 'app' holds String, such as 'mail'"),
        ([Id("app")], LabelRule("stars"), "'app' of a table of examples cannot be of kind id"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_name(features: list, rule: LabelRule, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelledExamples.of_frame(FRAME, features, rule, PARTS)


def test_rules_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(InputError, match=r"at_most 4 is not below labels\.at_least 4"):
        LabelRule("stars", at_least=4, at_most=4)
    with pytest.raises(InputError, match="negatives is at least 1"):
        LabelRule(negatives=0)


def test_rated_interactions_are_examples_of_their_users_and_items() -> None:
    data = prepared()
    examples = LabelledExamples.of_prepared(data, LabelRule("stars", at_least=4, at_most=2))
    log = data.dataset.interactions
    rated = log.filter(pl.col("stars") != 3)
    assert examples.labels.tolist() == (rated["stars"] >= 4).cast(pl.Float32).to_list()
    assert examples.parts.tolist() == data.split.parts[(log["stars"] != 3).to_numpy()].tolist()
    index = np.arange(len(examples))[::-1]
    batch = examples.take(index)
    users = data.users.ids_of(batch.features.sparse["user_id"].values.numpy())
    assert users.to_list() == rated["user_id"].reverse().to_list()
    assert set(batch.features.sparse) == {"user_id", "item_id", "colour", "history"}
    assert set(examples.vocabularies) == {"user_id", "item_id", "colour", "history"}
    assert examples.drawn(np.random.default_rng(0)) is examples


@pytest.mark.parametrize("rule", [LabelRule("stars", at_least=4, at_most=2), LabelRule(negatives=2)])
def test_a_history_is_the_users_last_training_items_without_the_examples_own(rule: LabelRule) -> None:
    data = prepared()
    examples = LabelledExamples.of_prepared(data, rule).drawn(np.random.default_rng(7))
    users, items = examples.rows
    history = examples.take(np.arange(len(examples))).features.sparse["history"]
    found = np.split(history.values.numpy(), np.cumsum(history.lengths.numpy())[:-1])
    # a drawn negative was never there: its positive's item is missing, or what is missing would tell the label
    left_out = items if rule.column else np.tile(items[examples.labels == 1], 3)
    for user, item, mine in zip(users, left_out, found, strict=True):
        assert mine.tolist() == [one for one in data.train.row(user).tolist() if one != item][-3:]


def test_unseen_items_are_drawn_for_each_positive_and_anew_for_training() -> None:
    data = prepared()
    examples = LabelledExamples.of_prepared(data, LabelRule(negatives=3), seed=1)
    n = data.dataset.interactions.height
    assert len(examples) == 4 * n and examples.labels.sum() == n
    for part in (TRAIN, VALIDATION, TEST):
        labels = examples.labels[examples.part(part)]
        assert len(labels) == 4 * labels.sum()
    again = examples.drawn(np.random.default_rng(5))
    every = set(zip(data.user_rows.tolist(), data.item_rows.tolist(), strict=True))
    trained = {
        pair
        for pair, part in zip(zip(data.user_rows, data.item_rows, strict=True), data.split.parts, strict=True)
        if part == TRAIN
    }
    for one in (examples, again):
        pairs = list(zip(*(rows.tolist() for rows in one.rows), strict=True))
        negative = one.labels == 0
        assert not trained & {pairs[at] for at in np.flatnonzero(negative & (one.parts == TRAIN))}
        assert not every & {pairs[at] for at in np.flatnonzero(negative & (one.parts != TRAIN))}
    training = examples.parts == TRAIN
    assert (again.rows[1] != examples.rows[1])[training].any()
    assert (again.rows[1] == examples.rows[1])[~training].all()
    same = examples.drawn(np.random.default_rng(5))
    assert (same.rows[1] == again.rows[1]).all()


def test_unseen_items_are_drawn_evenly() -> None:
    log = pl.DataFrame({"user_id": [1] * 2, "item_id": [0, 1], "timestamp": [0, 1]})
    dataset = Dataset.construct("two", log, pl.DataFrame({"item_id": range(6)}))
    split = dataclasses.replace(random_ratio(dataset), parts=np.array([TRAIN, TRAIN], np.uint8))
    examples = LabelledExamples.of_prepared(Prepared.of(dataset, split), LabelRule(negatives=4000))
    counts = np.bincount(examples.rows[1][examples.labels == 0], minlength=6)
    assert counts[:2].sum() == 0 and np.abs(counts[2:] - 2000).max() < 200


def test_withheld_items_are_not_drawn_for_training() -> None:
    data = prepared(split=lambda dataset: cold_items(dataset, 0.2, 0.2))
    examples = LabelledExamples.of_prepared(data, LabelRule(negatives=5))
    withheld = np.flatnonzero(data.item_counts == 0)
    assert len(withheld) and not np.isin(examples.rows[1][examples.parts == TRAIN], withheld).any()


def test_a_user_who_has_seen_everything_is_an_error() -> None:
    log = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [0, 1, 0], "timestamp": [0, 1, 2]})
    dataset = Dataset.construct("all", log)
    split = dataclasses.replace(random_ratio(dataset), parts=np.full(3, TRAIN, np.uint8))
    with pytest.raises(InputError, match="seen every item"):
        LabelledExamples.of_prepared(Prepared.of(dataset, split), LabelRule())


def test_context_is_history_and_no_example() -> None:
    log = pl.DataFrame({"user_id": [1, 1, 1, 2, 2, 3, 3], "item_id": [1, 2, 3, 1, 2, 4, 5], "stars": [5.0] * 7})
    log = log.with_columns(part=pl.Series(["context", "context", "test", "train", "train", "context", "validation"]))
    dataset = Dataset.construct("sessions", log.with_columns(timestamp=pl.int_range(pl.len())))
    data = Prepared.of(dataset, make_split("given", dataset))
    for rule in (LabelRule("stars", at_least=4, at_most=2), LabelRule(negatives=1)):
        examples = LabelledExamples.of_prepared(data, rule)
        positive = examples.labels == 1
        assert examples.parts[positive].tolist() == [TEST, TRAIN, TRAIN, VALIDATION]
        histories = examples.take(np.flatnonzero(positive)[[0, 3]]).features.sparse["history"]
        assert data.items.ids_of(histories.values.numpy()).to_list() == [1, 2, 4] and histories.lengths.tolist() == [
            2,
            1,
        ]
    negatives = examples.labels == 0
    drawn = dict(zip(examples.rows[0][negatives], data.items.ids_of(examples.rows[1][negatives]), strict=False))
    assert drawn[0] in (4, 5)  # nothing of the user's context
