"""What an evaluation asks under splits of whole sessions, and of timed histories."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from features.batches import FeatureBatch, JaggedArray
from features.dataset import Dataset
from features.prepared import Prepared
from features.schema import FeatureSchema, Id, Sequence
from features.splits import make_split
from recsys.sequential_config import SequentialConfig
from training.data import describe, note_on_parts
from training.evaluation import Evaluation, ModelScores, evaluate, evaluate_baselines


def _sessions(timed: bool = False) -> Dataset:
    """30 sessions of four items, each a walk along the ring of ten items."""
    items = (np.arange(4) + np.arange(30)[:, None]).ravel() % 10
    log = pl.DataFrame({"user_id": np.repeat(np.arange(30), 4), "item_id": items, "timestamp": np.arange(120) * 7})
    schema = FeatureSchema(user=(Sequence("history", timed=timed),), item=(Id("item_id"),))
    return Dataset.construct("ring", log, schema=schema)


class NextOnTheRing(torch.nn.Module):
    """Knows that items come one after another, and keeps what it is asked."""

    config = SequentialConfig()

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.asked: list[FeatureBatch] = []

    def encode_items(self, items: FeatureBatch) -> Tensor:
        return torch.eye(10)[items.sparse["item_id"].values]

    def encode_users(self, users: FeatureBatch) -> Tensor:
        self.asked.append(users)
        history = users.sparse["history"]
        return torch.eye(10)[(history.values[history.lengths.cumsum(0) - 1] + 1) % 10]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_withheld_session_is_asked_for_its_last_item_from_those_before(part: str) -> None:
    dataset = _sessions()
    split = make_split("sessions", dataset, validation=0.2, test=0.2)
    prepared = Prepared.of(dataset, split)
    evaluation = Evaluation(prepared, part)
    assert len(evaluation.users) == 6 and evaluation.seen is None
    assert (evaluation.histories.lengths[evaluation.users] == 3).all()
    model = NextOnTheRing()
    figures = evaluate(evaluation, ModelScores(model, evaluation).scorer)
    assert (figures["queries"], figures["hr@10"], figures["ndcg@10"]) == (6, 1, 1)
    assert model.asked[0].asked_at is None
    trained = prepared.train.lengths > 0
    assert trained.sum() == 18 and not trained[evaluation.users].any() and prepared.item_counts.sum() == 72
    assert evaluate_baselines(prepared, part)["item-knn"]["queries"] == 6
    assert {key: describe(dataset, split)[key] for key in split.counts} == {
        "train": 72,
        "validation": 6,
        "test": 6,
        "context": 36,
    }


def test_timed_histories_are_asked_when_the_target_came() -> None:
    dataset = _sessions(timed=True)
    prepared = Prepared.of(dataset, make_split("leave-one-out", dataset))
    evaluation = Evaluation(prepared)
    model = NextOnTheRing()
    evaluate(evaluation, ModelScores(model, evaluation).scorer)
    (asked,) = model.asked
    assert asked.asked_at.tolist() == [7 * (4 * user + 3) for user in range(30)]
    assert asked.sparse["history"].times.tolist() == [7 * (4 * user + at) for user in range(30) for at in range(3)]


def test_rows_without_what_is_not_wanted_keep_their_times() -> None:
    rows = JaggedArray(np.array([4, 2, 4, 3]), np.array([0, 2, 2, 3, 4]), np.array([10, 11, 12, 13]))
    kept = rows.only(np.array([True, True, False, True, True])[rows.values])
    assert (kept.values.tolist(), kept.offsets.tolist()) == ([4, 4, 3], [0, 1, 1, 2, 3])
    assert kept.times.tolist() == [10, 12, 13]


def test_parts_that_are_said_and_not_read_are_noted() -> None:
    dataset = _sessions()
    part = np.where(np.arange(120) // 4 < 24, "train", np.where(np.arange(120) % 4 < 3, "context", "test"))
    said = Dataset.construct("said", dataset.interactions.with_columns(part=pl.Series(part)))
    for data, name, noted in ((dataset, "leave-one-out", False), (said, "leave-one-out", True), (said, "given", False)):
        note = note_on_parts(Prepared.of(data, make_split(name, data)))
        assert noted == (note is not None) and (not noted or "the split leave-one-out does not read" in note)
