"""Training runs that are compared: the same data for both, and an end where the request says."""

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import pytest

from features import sources
from features.errors import InputError
from features.prepared import Prepared
from features.splits import leave_one_out
from training.evaluation import Evaluation

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

SMALL = ("model.dim=8", "model.embeddings.width=8", "model.layers=1", "model.max_length=10", "optimiser.backend=torch")


def module_of(path: str):
    spec = importlib.util.spec_from_file_location(f"benchmark_{Path(path).stem}", BENCHMARKS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def processes():
    return module_of("training_processes.py")


@pytest.fixture(scope="module")
def worker():
    return module_of("workers/sequential_run.py")


@pytest.fixture(scope="module")
def dataset():
    return sources.load("generated", interactions=1000)


@pytest.fixture(scope="module")
def data(processes, dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "interactions.npz"
    processes.write(dataset, path)
    return path


def test_both_are_given_histories_and_validation_items_and_nothing_of_the_test(dataset, data, worker) -> None:
    whole, given = Prepared.of(dataset, leave_one_out(dataset)), worker.prepared_from(data)
    ids = given.items.ids.to_numpy()  # row numbers of the whole catalogue
    users = given.users.ids.to_numpy()
    assert not len(given.test.values)
    for part in ("train", "validation"):
        ours, theirs = getattr(given, part), getattr(whole, part)
        assert len(ours.values) == len(theirs.values)
        assert all(np.array_equal(ids[ours.row(at)], theirs.row(user)) for at, user in enumerate(users))
    asked = Evaluation(given, "validation")
    assert np.array_equal(asked.seen.values, given.train.values) and np.array_equal(
        asked.histories.values, asked.seen.values
    )


@pytest.mark.parametrize(("ends", "epochs"), [({"epochs": 2}, 2), ({"budget": 0.0}, 1), ({"target": 0.0}, 1)])
def test_a_run_ends_where_the_request_says(ends, epochs, data, worker) -> None:
    said = []
    asked = {"settings": [*SMALL, "optimiser.max_epochs=9"], "threads": 1, **ends}
    worker.train(asked, data, lambda event, **figures: said.append((event, figures)))
    assert [event for event, _ in said] == ["start", *["epoch"] * epochs, "end"]
    told = [figures for event, figures in said if event == "epoch"]
    assert [one["epoch"] for one in told] == list(range(1, epochs + 1))
    assert np.isclose(sum(one["seconds"] for one in told), told[-1]["spent"])
    assert all(0 <= one["ndcg@10"] <= one["hr@10"] <= 1 for one in told)


def test_what_a_process_complained_of_is_told(processes, dataset, monkeypatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ImportError: no such library")
    monkeypatch.setattr(processes.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(InputError, match="the run of rectools failed: ImportError: no such library"):
        processes.train("rectools", {}, dataset, 1)
