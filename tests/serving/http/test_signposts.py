"""Whoever comes without having read anything is led on: at /, at paths and fields that are not there, by titles."""

from __future__ import annotations

import dataclasses

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from features.dataset import Dataset
from features.schema import Id
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.http.field_names import no_such_field

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")


@pytest.fixture(scope="module")
def client(generator):
    return TestClient(create_app(generator))


def detail(client, body, path="/candidates"):
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    return {".".join(map(str, one["loc"][1:])): one["msg"] for one in answer.json()["detail"]}


def test_the_root_names_the_model_that_answers_now_and_where_to_read_on(generators):
    app = create_app(generators["two-tower"])
    client = TestClient(app)
    told = client.get("/").json()
    assert told == {
        "service": "Recommendation candidates",
        "model": generators["two-tower"].identity,
        "docs": "/docs",
        "openapi": "/openapi.json",
    }
    assert all(client.get(told[name]).status_code == 200 for name in ("docs", "openapi"))
    app.state.live.generator = generators["sequential"]
    assert client.get("/").json()["model"] == generators["sequential"].identity != told["model"]
    shown = TestClient(create_app(generators["two-tower"], ServiceConfig(ui=True)))
    assert shown.get(shown.get("/").json()["ui"]).status_code == 200
    assert 'recsys_requests_total{route="/",status="200"} 2.0' in client.get("/metrics").text


def test_a_path_that_is_asked_otherwise_says_how_it_is_asked(generator):
    client = TestClient(create_app(generator, ServiceConfig(token="a-token-of-this-test")))
    for method, path, answers in (
        ("GET", "/candidates", ["POST"]),
        ("DELETE", "/docs", ["GET"]),
        ("PUT", "/items", ["DELETE", "POST"]),
    ):
        answer = client.request(method, path)
        assert answer.status_code == 405 and answer.headers["allow"] == ", ".join(answers)
        assert answer.json()["detail"] == f"{path} answers {' and '.join(answers)}, not {method}"


def test_a_path_that_is_not_there_names_those_that_are(client):
    for answer in (client.get("/candidate"), client.post("/nothing", json={})):
        assert answer.status_code == 404
        told = answer.json()["detail"]
        assert told.startswith(f"there is nothing at {answer.request.url.path}; there are GET /, ")
        routes = told.partition("there are ")[2].split(", ")
        for route in routes:
            method, path = route.split()
            # each is there; what it says to an empty body is its own affair
            assert client.request(method, path).status_code not in (404, 405), route
        assert {"POST /candidates", "POST /similar", "GET /docs", "GET /version", "DELETE /items"} <= set(routes)
        assert "GET /ui" not in routes
    assert len(client.get("/" + "x" * 5000).json()["detail"]) < 1000
    assert 'route="other"' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("path", "body", "place", "told"),
    [
        ("/candidates", {"users": ["u001"]}, "users", "did you mean user_ids?"),
        ("/candidates", {"user_ids": ["u001"], "Exclude-Seen": True}, "Exclude-Seen", "did you mean exclude_seen?"),
        ("/candidates", {"user_ids": ["u001"], "n": 5}, "n", "there are allow, deny, where, user_ids, histories, "),
        ("/similar", {"item_ids": ["sku-001"], "item": 5}, "item", "did you mean item_ids?"),
        (
            "/invocations",
            {"dataframe_records": [{"user_id": "u001"}], "params": {"rerank_deep": 5}},
            "params.rerank_deep",
            "did you mean rerank_depth?",
        ),
    ],
)
def test_a_field_that_is_not_there_leads_to_one_that_is(client, path, body, place, told):
    found = detail(client, body, path)[place]
    assert found.startswith("there is no such field; ") and told in found


def test_fields_inside_of_lists_are_found_and_made_up_names_do_no_harm():
    class Inner(BaseModel):
        item_id: str

    class Outer(BaseModel):
        items: list[Inner] | None = None

    assert no_such_field(Outer, ["items", 3, "itemid"]) == "there is no such field; did you mean item_id?"
    assert no_such_field(Outer, ["items", 3, "x"]) == "there is no such field; there is item_id"
    assert no_such_field(Outer, ["nothing", "x"]) == no_such_field(None, ["x"]) == "there is no such field"
    assert len(no_such_field(Outer, ["item" * 100_000])) < 100


@pytest.mark.parametrize(
    ("body", "place", "told"),
    [
        ({"user_ids": "u001"}, "user_ids", "is a string, not a list"),
        ({"user_ids": 17}, "user_ids", "is an integer, not a list"),
        ({"user_ids": {"a": 1}}, "user_ids", "is an object, not a list"),
        ({"histories": ["sku-001"]}, "histories.0", "is a string, not a list"),
        ({"user_ids": ["u001"], "deny": True}, "deny", "is true or false, not a list"),
    ],
)
def test_what_stands_in_the_place_of_a_list_is_named(client, body, place, told):
    assert detail(client, body) == {place: told}


def test_several_problems_are_all_told(client):
    found = detail(client, {"users": 1, "user_ids": "u001", "k": 0})
    assert list(found.values()) == [
        "is a string, not a list",
        "Input should be greater than or equal to 1",
        "there is no such field; did you mean user_ids?",
    ]


@pytest.mark.parametrize("path", ["/candidates", "/similar"])
def test_titles_are_added_where_they_are_asked_for_and_nothing_else_changes(client, generator, path):
    asked = {"user_ids": ["u001", None], "k": 4} if path == "/candidates" else {"item_ids": ["sku-001", "?"], "k": 4}
    plain = client.post(path, json=asked)
    assert "titles" not in plain.text and client.post(path, json=asked | {"titles": False}).content == plain.content
    found = (
        generator.recommend(["u001", None], k=4) if path == "/candidates" else generator.similar(["sku-001", "?"], k=4)
    )
    name = path[1:]
    lists = client.post(path, json=asked | {"titles": True}).json()[name]
    for n, (told, without) in enumerate(zip(lists, plain.json()[name], strict=True)):
        titles = told.pop("titles")
        assert told == without and titles == found.titles_of(n) and len(titles) == len(told["item_ids"])
    table = generator.bundle.item_table
    titles = dict(zip(table["item_id"].to_list(), table["title"].to_list(), strict=True))
    first = client.post(path, json=asked | {"titles": True}).json()[name][0]
    assert first["titles"] == [titles[one] for one in first["item_ids"]] and first["titles"][0].startswith(
        "Thing number"
    )


def test_items_without_titles_say_so(tiny, tmp_path):
    data, schema = tiny.make_dataset(), dataclasses.replace(tiny.schema, item=(Id("item_id"),))
    prepared = tiny.prepared_of(Dataset.construct("bare", data.interactions, data.items, data.users, schema))
    folder = write_bundle(tmp_path / "bundle", tiny.model_for(prepared), prepared)
    bare = TestClient(create_app(CandidateGenerator.load(folder)))
    (told,) = bare.post("/candidates", json={"user_ids": ["u001"], "titles": True}).json()["candidates"]
    assert told["titles"] is None and len(told["item_ids"]) == 10
