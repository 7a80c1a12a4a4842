"""One record's entity, and the way back from an id to the feeds' own."""

from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

from features.entity_store import write_entities
from features.errors import InputError
from features.records import Records
from serving.entities.app import create_entity_app
from serving.entities.finder import EntityFinder, chance
from training.entities.resolve import resolve

KINDS = ["soap", "pen", "lamp", "cup", "oil", "tea", "jar", "map", "bag", "key", "mug", "hat", "box", "ink"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three feeds of the same things, in a map of two versions."""
    titles = [f"{kind} model {chr(97 + n)}{chr(110 - n)}{1000 + 37 * n}" for n, kind in enumerate(KINDS * 2)]
    told = {
        name: Records.of(name, pl.DataFrame({"id": [f"{name}{n}" for n in range(28)], "title": shown}))
        for name, shown in (
            ("a", titles),
            ("b", [f"{one}." for one in titles]),
            ("c", [f"the {one}" for one in titles]),
        )
    }
    folder = tmp_path_factory.mktemp("map") / "entities"
    first = resolve({name: told[name] for name in "ab"}).resolved
    write_entities(folder, first)
    write_entities(folder, resolve({"c": told["c"]}, before=first).resolved)
    return folder


@pytest.fixture(scope="module")
def finder(folder: Path) -> EntityFinder:
    return EntityFinder.load(folder)


def test_every_member_is_as_likely_as_it_looks(finder: EntityFinder) -> None:
    """Not only the nearest one: whoever else is found says nothing of how alike two records are."""
    (found,) = finder.find([{"title": "tea model fi1185"}], n=10)
    members = [one for one in found.records if one.entity_id == found.entity_id]
    assert {one.source for one in members} == {"a", "b", "c"}
    assert all(chance(one.log_odds) > 0.6 for one in members)
    assert all(abs(chance(one.log_odds) - 0.49975) > 1e-4 for one in found.records)
    assert found.records[0].log_odds == max(one.log_odds for one in found.records)


def test_one_record_is_asked_about_as_it_is(finder: EntityFinder) -> None:
    record = {"title": "tea model fi1185"}
    assert finder.find(record) == finder.find([record])
    with pytest.raises(InputError, match="the records are a list, a mapping for each record, and this is a str"):
        finder.find("tea model")
    with pytest.raises(InputError, match="record 1 of the records is a str, and not a mapping such as"):
        finder.find(["tea model"])


def test_an_id_is_one_number_however_it_is_written(finder: EntityFinder) -> None:
    assert finder.current(5) == finder.current("5") == 5
    assert finder.current(10**6) is None
    for wrong in ("five", 5.0, True, None, [5], ""):
        with pytest.raises(InputError, match=r"an entity's id is one whole number, such as 17 or '17', got"):
            finder.current(wrong)
    with pytest.raises(InputError, match="ids of entities are a list or a polars Series, and 5 is a single int"):
        finder.entities.current(5)


def test_the_way_back_leads_to_feeds_own_ids(finder: EntityFinder) -> None:
    for entity in range(1, finder.entities.next_id):
        now = finder.current(entity)
        every = finder.records_of(now).rows()
        assert sorted(every) == sorted(finder.entities.records([entity]).select("source", "record_id").rows())
        own = finder.records_of(str(now), "c")["record_id"].to_list()
        assert own == [record for source, record in every if source == "c"]
    with pytest.raises(InputError, match="the map has no source 'd'; it has a, b, c"):
        finder.records_of(1, "d")


def test_feeds_own_ids_over_http(folder: Path, finder: EntityFinder) -> None:
    with TestClient(create_entity_app(finder)) as client:
        told = client.get("/entities/1").json()
        assert told["size"] == len(told["records"]) == finder.records_of(1).height
        own = client.get("/entities/1?source=b").json()
        assert own["records"] == [one for one in told["records"] if one["source"] == "b"] and own["size"] == 1
        assert client.get("/").json()["entities"] == finder.identity
        assert client.get(f"/entities/{2**40}").json()["detail"] == f"no entity has ever had the id {2**40}"
        assert "POST /find" in client.get("/entity").json()["detail"]
        refused = client.get("/entities/1?source=d")
        assert refused.status_code == 422 and "has no source 'd'" in refused.json()["detail"][0]["msg"]
