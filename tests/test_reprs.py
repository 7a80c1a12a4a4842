"""What people meet in a notebook says what it is on a line."""

from pathlib import Path

import numpy as np
import pytest

from features import sources
from features.batches import JaggedArray
from serving.candidates import CandidateGenerator
from training.config import load_config
from training.data import prepare
from training.runs import RunOptions, run


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    config = load_config(settings=["optimiser.max_epochs=1"])
    prepared = prepare(config, sources.load("generated", interactions=1000))
    folder: Path = tmp_path_factory.mktemp("run")
    return prepared, run(config, RunOptions(folder, track=False, progress=False), prepared)


def test_what_a_run_is_made_of_and_what_it_came_to_fit_on_a_line(result) -> None:
    prepared, found = result
    generator = CandidateGenerator.load(found.bundle)
    told = [repr(one) for one in (prepared, found, generator, generator.bundle, generator.bundle.index, prepared.items)]
    assert all("\n" not in one and len(one) < 260 for one in told), told
    assert told[0].startswith(
        "Prepared(Dataset('generated': 1,000 interactions of 100 users with 200 items), Split('ran"
    )
    assert f"HR@10 {found.figures['hr@10']:.4f}" in told[1] and str(found.bundle) in told[1]
    assert "100 users, 200 items" in told[3]


def test_a_jagged_array_says_how_large_it_is() -> None:
    rows = JaggedArray(np.array([7, 8, 9]), np.array([0, 2, 2, 3]))
    assert repr(rows) == "JaggedArray(3 rows, 3 values)"
