"""A registry with versions that there is nothing behind: what moves aliases looks at no model."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest


@pytest.fixture(scope="session")
def empty_shop(tmp_path_factory) -> Path:
    """A store, which takes seconds to make, with the model "shop" and four versions of it."""
    place = tmp_path_factory.mktemp("store")
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db", f"sqlite:///{place}/mlflow.db")
    client.create_registered_model("shop")
    for _ in range(4):
        client.create_model_version("shop", source=str(place / "nothing"))
    return place / "mlflow.db"


@pytest.fixture
def registry(tmp_path, monkeypatch, empty_shop: Path) -> SimpleNamespace:
    """A copy of it; none of the versions is champion."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{shutil.copy(empty_shop, tmp_path)}"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)

    def aliases() -> dict[str, str]:
        return {name: str(one) for name, one in client.get_registered_model("shop").aliases.items()}

    def tags(version: str) -> dict[str, str]:
        return dict(client.get_model_version("shop", version).tags)

    yield SimpleNamespace(uri=uri, client=client, aliases=aliases, tags=tags, folder=tmp_path)
    mlflow.set_tracking_uri(before)
