"""A small shop, prepared once, and a tracking store of the test's own."""

from pathlib import Path

import pytest

from features.prepared import Prepared
from training.config import TrainConfig, load_config
from training.data import prepare

SMALL = (
    "data.settings.interactions=3000",
    "model.dim=16",
    "model.embeddings.width=16",
    "optimiser.max_epochs=4",
    "optimiser.lr=0.01",
    "optimiser.validate_every=1",
    "examples.batch_size=64",
)


@pytest.fixture(scope="session")
def small_config() -> TrainConfig:
    return load_config(settings=SMALL)


@pytest.fixture(scope="session")
def small_prepared(small_config: TrainConfig) -> Prepared:
    return prepare(small_config)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty tracking store, and a working folder that nothing else writes to."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri
