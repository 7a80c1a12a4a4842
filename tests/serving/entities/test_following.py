"""A map that changes while it is served: the next request is answered by the new version, or by the old one."""

import json
import shutil
import time
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

from features.entity_store import read_entities, write_entities
from features.errors import InputError
from features.records import Records
from serving.entities.app import create_entity_app
from serving.entities.finder import EntityFinder
from serving.entities.following import MapFollower
from serving.http.config import ServiceConfig
from training.entities.resolve import resolve


def told(name: str, first: int, last: int) -> dict[str, Records]:
    rows = {"id": list(range(first, last)), "title": [f"thing {n * n} of {name}" for n in range(first, last)]}
    return {name: Records.of(name, pl.DataFrame(rows))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_entities(tmp_path / "map", resolve(told("a", 0, 30) | told("b", 0, 20)).resolved)
    return tmp_path / "map"


def grown(folder: Path, first: int, last: int) -> None:
    write_entities(folder, resolve(told("b", first, last), before=read_entities(folder)).resolved)


def served(folder: Path, seconds: float = 0) -> tuple[TestClient, MapFollower]:
    follower = MapFollower(folder, lambda: EntityFinder.load(folder), seconds)
    return TestClient(create_entity_app(EntityFinder.load(folder), ServiceConfig(), follower)), follower


def test_a_new_version_takes_over(folder: Path) -> None:
    client, follower = served(folder)
    with client:
        assert follower.look() == "unchanged"
        before = client.get("/version").json()
        grown(folder, 20, 30)
        assert client.get("/version").json() == before
        assert follower.look() == "swapped" and follower.look() == "unchanged"
        now = client.get("/version").json()
        assert (now["version"], now["records"]) == (2, 60)
        assert client.post("/find", json={"records": [{"title": "thing 841"}]}).json()["entities"]["version"] == 2
        assert client.get("/readyz").status_code == 200
        assert 'recsys_swaps_total{outcome="swapped"} 1.0' in client.get("/metrics").text


def test_it_is_looked_at_again_and_again(folder: Path) -> None:
    client, _ = served(folder, seconds=0.05)
    with client:
        grown(folder, 20, 30)
        until = time.monotonic() + 60
        while client.get("/version").json()["version"] == 1 and time.monotonic() < until:
            time.sleep(0.05)
        assert client.get("/version").json()["version"] == 2


def test_what_cannot_be_loaded_leaves_what_answers(folder: Path) -> None:
    client, follower = served(folder)
    with client:
        grown(folder, 20, 30)
        manifest = json.loads((folder / "v2" / "manifest.json").read_text())
        (folder / "v2" / "manifest.json").write_text("{}")
        assert follower.look() == "failed" and follower.look() == "unchanged"  # it is not tried again
        assert client.get("/version").json()["version"] == 1
        (folder / "v2" / "manifest.json").write_text(json.dumps(manifest))
        grown(folder, 30, 40)
        assert follower.look() == "swapped" and client.get("/version").json()["version"] == 3
        (folder / "current").unlink()
        assert follower.look() == "unasked" and client.get("/version").json()["version"] == 3


def test_a_map_that_tells_other_things_is_refused(folder: Path, tmp_path: Path) -> None:
    client, follower = served(folder)
    other = Records.of("a", pl.DataFrame({"id": range(20), "name": [f"x {n * n}" for n in range(20)]}))
    third = resolve({"a": other, **{"b": other}}).resolved
    with client:
        shutil.rmtree(folder)
        write_entities(folder, third)
        shutil.move(folder / "v1", folder / "v1-new")
        (folder / "current").write_text("v1-new")
        assert follower.look() == "refused"
        assert client.get("/version").json()["attributes"] == ["title"]


def test_where_there_is_no_map_there_is_nothing_to_follow(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no entities"):
        MapFollower(tmp_path, lambda: EntityFinder.load(tmp_path))
