"""Baselines of cold items are as well chosen as what they are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from features.prepared import Prepared
from features.sources import load
from recsys.baselines import ContentKNN, ContentKNNConfig
from training.evaluation import Evaluation, evaluate

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def cold_protocol() -> Iterator[ModuleType]:
    """The script, which finds the others beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield import_module("cold_protocol")


@pytest.fixture(scope="module")
def cold(cold_protocol: ModuleType) -> Prepared:
    return cold_protocol.prepared(cold_protocol.withheld(load("generated", interactions=1500))["cold"])


def test_validation_chooses_and_the_test_is_read_once(
    cold_protocol: ModuleType, cold: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [feature.name for feature in cold.dataset.schema.item if feature.embedded and feature.kind != "id"]
    asked: list[str] = []

    def counted(prepared: Prepared, part: str) -> Evaluation:
        asked.append(part)
        return Evaluation(prepared, part)

    def ranker(trial: dict[str, float]) -> ContentKNN:
        return ContentKNN(ContentKNNConfig(**trial)).fit(cold.item_table, names)

    monkeypatch.setattr(cold_protocol, "Evaluation", counted)
    found = cold_protocol.chosen(cold, ranker)
    assert asked == ["validation"] * len(cold_protocol.KNN_TRIALS) + ["test"]

    def figures(part: str, trial: dict[str, float]) -> dict[str, float]:
        evaluation, made = Evaluation(cold, part), ranker(trial)
        return evaluate(evaluation, lambda users: made.scorer(evaluation.histories.rows(users)))

    best = int(np.argmax([figures("validation", trial)["recall@20"] for trial in cold_protocol.KNN_TRIALS]))
    expected = figures("test", cold_protocol.KNN_TRIALS[best])
    assert all(found[name] == value for name, value in expected.items())
    assert found["set"] == [f"{name}={value}" for name, value in cold_protocol.KNN_TRIALS[best].items()]


def test_the_defaults_are_among_what_is_tried(cold_protocol: ModuleType) -> None:
    assert cold_protocol.KNN_TRIALS[0] == {} and len(cold_protocol.KNN_TRIALS) >= 3
