"""Small bundles with random weights: serving must be right whatever a model has learned."""

from __future__ import annotations

import dataclasses
import re
import shutil
import socket
import sqlite3
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from features.dataset import Dataset
from features.prepared import Prepared
from features.schema import Categorical, FeatureSchema, Id, MultiValued, Numeric, Sequence, Text
from features.splits import make_split
from recsys.embeddings import EmbeddingPlan
from recsys.fusion import FusionConfig, fit_texts
from recsys.retrievers import Retriever, make_retriever
from recsys.sequential import SequentialConfig
from recsys.text_encoders import ItemTextConfig, TextEncoderConfig
from recsys.text_encoders.items import read_items
from recsys.two_tower import TwoTowerConfig
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator

SCHEMA = FeatureSchema(
    user=(Id("user_id"), Categorical("city"), Numeric("age"), Sequence("history")),
    item=(Id("item_id"), MultiValued("genres"), Text("title")),
)
#: integers that differ only beyond what a float can tell, and the ends of the range
LARGE = [2**53, 2**53 + 1, 2**53 + 2, 2**31, 2**31 + 1, -(2**63), 2**63 - 1, 0, -5, 17]


def make_dataset(integers: bool = False, users: int = 40, items: int = 60, seed: int = 0) -> Dataset:
    """Users 0 to users - 2 have interactions, the last one has none; the last three items have none either."""
    random = np.random.default_rng(seed)
    user_ids = [*LARGE, *range(100, 90 + users)] if integers else [f"u{n:03d}" for n in range(users)]
    item_ids = [*LARGE, *range(1000, 990 + items)] if integers else [f"sku-{n:03d}" for n in range(items)]
    who = random.integers(0, users - 1, 1200)
    what = np.minimum((random.random(1200) ** 2 * (items - 3)).astype(int), items - 4)
    log = pl.DataFrame({"u": who, "i": what}).unique(maintain_order=True)
    interactions = pl.DataFrame(
        {
            "user_id": [user_ids[u] for u in log["u"]],
            "item_id": [item_ids[i] for i in log["i"]],
            "timestamp": np.arange(log.height),
        }
    )
    user_frame = pl.DataFrame(
        {
            "user_id": user_ids,
            "city": random.choice(["Oslo", "Riga", "Bonn"], users),
            "age": random.integers(15, 80, users),
        }
    )
    item_frame = pl.DataFrame(
        {
            "item_id": item_ids,
            "genres": ["|".join(random.choice(["a", "b", "c"], n % 3, replace=False)) for n in range(items)],
            "title": [f"Thing number {n}" for n in range(items)],
        }
    )
    return Dataset.construct("tiny", interactions, item_frame, user_frame, SCHEMA)


def prepared_of(dataset: Dataset, split: str = "random", **settings) -> Prepared:
    return Prepared.of(dataset, make_split(split, dataset, **settings))


PLAN = EmbeddingPlan(kind="collisionless", width=8, initial_range=1.0)
#: of each family a configuration, such that different users get different lists though nothing was learned
CONFIGS = {
    "two-tower": TwoTowerConfig(dim=8, item_bias=True, embeddings=PLAN),
    "sequential": SequentialConfig(backbone="ligr", dim=8, max_length=6, items="all", embeddings=PLAN),
}


def model_for(prepared: Prepared, seed: int = 0, family: str = "two-tower", **config) -> Retriever:
    torch.manual_seed(seed)
    parts = (prepared.dataset.schema, prepared.vocabularies, prepared.item_table)
    model = make_retriever(dataclasses.replace(CONFIGS[family], **config), *parts).eval()
    if family == "sequential":  # begins so quietly that nothing but the last item would count
        with torch.no_grad():
            for weight in (*model.positions.parameters(), *model.layers.parameters()):
                weight.mul_(5)
    return model


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The above, for tests: a conftest cannot be imported."""
    return SimpleNamespace(
        schema=SCHEMA,
        large=LARGE,
        families=tuple(CONFIGS),
        make_dataset=make_dataset,
        prepared_of=prepared_of,
        model_for=model_for,
    )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _until(condition: Callable[[], object], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Finds a port that nobody listens at."""
    return _free_port


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Waits for something to be so: `until(condition, seconds)`."""
    return _until


@pytest.fixture(scope="session")
def strings() -> Prepared:
    return prepared_of(make_dataset())


@pytest.fixture(scope="session")
def integers() -> Prepared:
    return prepared_of(make_dataset(integers=True))


@pytest.fixture(scope="session")
def string_folders(strings, tmp_path_factory):
    """A bundle of each family."""
    root = tmp_path_factory.mktemp("strings")
    return {
        family: write_bundle(root / family / "bundle", model_for(strings, family=family), strings, name="tiny")
        for family in CONFIGS
    }


@pytest.fixture(scope="session")
def string_folder(string_folders):
    return string_folders["two-tower"]


@pytest.fixture(scope="session")
def integer_folder(integers, tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("integers") / "bundle", model_for(integers), integers)


@pytest.fixture(scope="session")
def generators(string_folders):
    return {family: CandidateGenerator.load(folder) for family, folder in string_folders.items()}


@pytest.fixture(scope="session")
def generator(generators) -> CandidateGenerator:
    return generators["two-tower"]


@pytest.fixture(scope="session")
def sequential(generators) -> CandidateGenerator:
    return generators["sequential"]


@pytest.fixture(scope="session", params=CONFIGS)
def any_generator(request, generators) -> CandidateGenerator:
    """One of each family, for what both promise."""
    return generators[request.param]


@pytest.fixture(scope="session")
def integer_generator(integer_folder) -> CandidateGenerator:
    return CandidateGenerator.load(integer_folder)


class PlainRegistry:
    """The tables of MLflow's SQLite store that say where versions are, of the model "shop"; made in a millisecond."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "mlflow.db"
        self.uri, self._versions = f"sqlite:///{self.path}", 0
        self._write("CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)")
        self._write("CREATE TABLE model_versions (name TEXT, version INTEGER, source TEXT)")
        self._write("CREATE TABLE logged_models (model_id TEXT, artifact_location TEXT, lifecycle_stage TEXT)")

    def register(self, bundle: Path) -> Path:
        """Makes a copy of a bundle the next version, and returns its folder."""
        self._versions += 1
        logged = self.folder / f"m-{self._versions}"
        self._write("INSERT INTO model_versions VALUES ('shop', ?, ?)", self._versions, f"models:/{logged.name}")
        self._write("INSERT INTO logged_models VALUES (?, ?, 'active')", logged.name, str(logged))
        return Path(shutil.copytree(bundle, logged / "artifacts" / "bundle"))

    def crown(self, version: int) -> None:
        """Points the alias champion at a version."""
        self._write("DELETE FROM registered_model_aliases")
        self._write("INSERT INTO registered_model_aliases VALUES ('shop', 'champion', ?)", version)

    def _write(self, statement: str, *values: str | int) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(statement, values)


@pytest.fixture
def plain_registry(tmp_path) -> PlainRegistry:
    return PlainRegistry(tmp_path)


class Words:
    """Stands for a language model: the vector of a text is the sum of its words'."""

    size, room = 16, 40

    def token_ends(self, texts):
        return [[word.end() for word in re.finditer(r"\S+", text)] for text in texts]

    def encode(self, texts):
        found = np.zeros((len(texts), self.size), np.float32)
        for n, text in enumerate(texts):
            for word in text.split():
                found[n] += np.random.default_rng(zlib.crc32(word.encode())).standard_normal(self.size)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


#: what an item is made of where a language model reads it: of `year`, `note` and `since`, nothing is declared
TOLD_SCHEMA = FeatureSchema(
    user=SCHEMA.user,
    item=(Id("item_id"), MultiValued("genres"), Categorical("maker"), Numeric("weight"), Text("title")),
)
TOLD_COLUMNS = ("title", "maker", "year", "note", "since")
TOLD_CONFIGS = {
    "two-tower": {"fusion": FusionConfig("add")},
    "sequential": {"fusion": FusionConfig("alphafuse"), "tie": False},
}


NEW_ITEMS = [
    (
        "soap",
        {"title": "Thing number 12", "maker": "Ada", "genres": "a|c", "weight": 7.5, "year": 2001, "note": "red"},
    ),
    ("ink", {"title": "Blue ink, number 3", "genres": "b"}),
    ("a-cup", {"title": "A thing", "note": "blue", "weight": 2}),
]


def make_told_dataset(text: ItemTextConfig) -> Dataset:
    """As `make_dataset`, with more said of items; nothing that a text is made of is said of the item sku-007."""
    plain, random = make_dataset(), np.random.default_rng(1)
    n = plain.items.height
    said = {
        "maker": random.choice(["Ada", "Bo", "Cy"], n),
        "year": random.integers(1990, 2020, n).astype(float),
        "note": random.choice(["red", "blue", "green", "plain"], n),
        "since": pl.Series(random.integers(0, 20_000, n)).cast(pl.Int32).cast(pl.Date),
    }
    items = plain.items.with_columns(**{name: pl.Series(values) for name, values in said.items()})
    items = items.with_columns(pl.when(pl.col("item_id") != "sku-007").then(pl.col("title", *said)))
    items = items.with_columns(weight=pl.Series(random.normal(5, 2, n)))
    dataset = Dataset.construct("told", plain.interactions, items, plain.users, TOLD_SCHEMA)
    return dataset.with_vectors(read_items(dataset.items, text, Words()), text.feature)


@pytest.fixture(scope="session")
def told(tmp_path_factory) -> SimpleNamespace:
    """Data whose items have the vectors of texts, and a bundle of each family that reads them; `Words` is the model."""
    root = tmp_path_factory.mktemp("told")
    (root / "words" / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "1_Pooling/config.json", "tokenizer.json", "model.safetensors"):
        (root / "words" / name).write_text("{}")
    text = ItemTextConfig(TOLD_COLUMNS, encoder=TextEncoderConfig(str(root / "words")))
    prepared = prepared_of(make_told_dataset(text))
    models = {}
    for family, config in TOLD_CONFIGS.items():
        models[family] = model_for(prepared, family=family, **config)
        fit_texts(models[family], prepared.item_table.dense["text_vector"][prepared.item_counts > 0])
    folders = {
        family: write_bundle(root / family / "bundle", model, prepared, name="told", text=text)
        for family, model in models.items()
    }
    return SimpleNamespace(
        text=text,
        prepared=prepared,
        models=models,
        folders=folders,
        model_of=lambda generator: models[generator.resolved.folder.parent.name],
        new=NEW_ITEMS,
        Words=Words,
    )


@pytest.fixture
def word_encoder(monkeypatch, tmp_path) -> None:
    """Whatever language model is loaded is `Words`, and what it has read is kept for one test."""
    for module in ("loading", "items"):
        monkeypatch.setattr(f"recsys.text_encoders.{module}.load_encoder", lambda config: Words())
    monkeypatch.setattr("recsys.text_encoders.items._default_store", lambda: tmp_path / "store")


@pytest.fixture
def telling(told, word_encoder) -> CandidateGenerator:
    """One whose items have texts, without any new item."""
    return CandidateGenerator.load(told.folders["two-tower"], hashes=False)


@pytest.fixture(params=TOLD_CONFIGS)
def any_telling(request, told, word_encoder) -> CandidateGenerator:
    """One of each family."""
    return CandidateGenerator.load(told.folders[request.param], hashes=False)
