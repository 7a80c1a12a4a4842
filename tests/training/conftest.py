"""A small shop, prepared once, a tracking store of the test's own, and a language model that costs nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.item_text import whole_sentences
from features.prepared import Prepared
from recsys.text_encoders import ItemTextConfig
from recsys.text_encoders.items import ItemVectors
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


def hashed_vectors(items: pl.DataFrame, config: ItemTextConfig, encoder=None, progress=None, wait=True) -> ItemVectors:
    """In the place of a language model: numbers that follow from what is told of an item."""
    said = whole_sentences(items, config.columns, config.prefix)
    size = config.encoder.dim or 12
    found = [one and np.random.default_rng(list(one.encode())).normal(size=size).tolist() for one in said.to_list()]
    vectors = pl.Series(config.feature, found, dtype=pl.Array(pl.Float32, size))
    return ItemVectors(vectors, encoded=said.drop_nulls().n_unique(), stored=0, shortened=0)


@pytest.fixture(scope="session")
def texts_for_nothing() -> Callable[..., ItemVectors]:
    """What stands in the place of a language model."""
    return hashed_vectors


@pytest.fixture
def language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language model that costs nothing."""
    monkeypatch.setattr("recsys.text_encoders.items.item_vectors", hashed_vectors)
