"""New items over HTTP: candidates of the next request, refusals that name the field, and limits."""

from __future__ import annotations

import json
import math
import threading

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.item_log import ItemLog
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.http.fields import MAX_ATTRIBUTES, MAX_CHARACTERS, MAX_NEW_ITEMS, MAX_USERS, MAX_VALUES

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")

TOKEN = "a-token-of-this-test"
BROUGHT = {"authorization": f"Bearer {TOKEN}"}
ITEMS = [
    {"item_id": "soap", "attributes": {"title": "Rose soap", "maker": "Ada", "genres": "a|b", "weight": 4.5}},
    {"item_id": "ink", "attributes": {"title": "Ink", "year": 2001, "note": None}},
]


@pytest.fixture
def generator(telling, tmp_path):
    return CandidateGenerator(telling.bundle, telling.resolved, ItemLog(tmp_path / "new.jsonl"))


@pytest.fixture
def client(generator):
    return TestClient(create_app(generator, ServiceConfig(token=TOKEN)), headers=BROUGHT)


def candidates(client, **asked):
    body = {"user_ids": ["u003"], "k": 60, "exclude_seen": False, **asked}
    return client.post("/candidates", json=body).json()["candidates"][0]


def delete(client, ids, **settings):
    return client.request("DELETE", "/items", json={"item_ids": ids}, **settings)


def test_it_is_a_candidate_from_the_next_request_on(client, generator, tmp_path):
    assert "soap" not in candidates(client)["item_ids"]
    answer = client.post("/items", json={"items": ITEMS})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"model": generator.identity, "changed": 2, "new_items": 2}
    found = candidates(client, k=62)
    assert len(found["item_ids"]) == 62
    assert {"soap", "ink"} < set(found["item_ids"])
    assert [found] == generator.recommend(["u003"], k=62, exclude_seen=False).to_json()
    assert client.get("/version").json()["new_items"] == 2
    assert client.post("/similar", json={"item_ids": ["soap"]}).json()["similar"][0]["source"] == "item"
    frame = {"dataframe_records": [{"user_id": "u003"}], "params": {"k": 62, "exclude_seen": False}}
    assert client.post("/invocations", json=frame).json()["predictions"] == [found]
    again = client.post("/items", json={"items": ITEMS[:1]}).json()
    assert (again["changed"], again["new_items"]) == (1, 2)
    gone = delete(client, ["soap", "never"]).json()
    assert gone == {"model": generator.identity, "changed": 1, "new_items": 1}
    assert "soap" not in candidates(client, k=62)["item_ids"]
    # the next start finds what is left
    config = ServiceConfig(new_items=tmp_path / "new.jsonl")
    restarted = TestClient(create_app(generator.resolved.folder, config))
    assert set(candidates(restarted, k=62)["item_ids"]) == set(candidates(client, k=62)["item_ids"])


def test_a_service_that_was_not_started_for_it_takes_none(telling):
    client = TestClient(create_app(telling, ServiceConfig(token=TOKEN)), headers={"authorization": f"Bearer {TOKEN}"})
    for answer in (client.post("/items", json={"items": ITEMS}), delete(client, ["soap"])):
        assert answer.status_code == 403
        assert answer.json() == {"detail": "this service takes no new items; it was started without --new-items"}
    assert client.get("/version").json()["new_items"] == 0


@pytest.mark.parametrize("brought", [{}, {"authorization": "Bearer another-token-than-that"}, {"authorization": "x"}])
def test_who_brings_no_token_changes_nothing(generator, brought):
    client = TestClient(create_app(generator, ServiceConfig(token=TOKEN)), headers=brought)
    for answer in (client.post("/items", json={"items": ITEMS}), delete(client, ["soap"])):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert len(generator.new_items) == 0
    closed = TestClient(create_app(generator), headers=BROUGHT)
    assert closed.post("/items", json={"items": ITEMS}).status_code == 403
    assert candidates(client)["item_ids"]  # asking needs none


def item(item_id="new", **attributes):
    return {"items": [ITEMS[0], {"item_id": item_id, "attributes": attributes}]}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, ["items"]),
        ({"items": []}, ["items"]),
        ({"items": ITEMS * (MAX_NEW_ITEMS // 2 + 1)}, ["items"]),
        ({"items": ITEMS, "more": 1}, ["more"]),
        ({"items": [{"item_id": "new"}]}, ["items", 0, "attributes"]),
        ({"items": [{"attributes": {"title": "x"}}]}, ["items", 0, "item_id"]),
        ({"items": [{"item_id": None, "attributes": {}}]}, ["items", 0, "item_id"]),
        ({"items": [{"item_id": 1.5, "attributes": {}}]}, ["items", 0, "item_id"]),
        ({"items": [{"item_id": "i" * 2000, "attributes": {}}]}, ["items", 0, "item_id"]),
        (item(**{f"a{n}": "x" for n in range(MAX_ATTRIBUTES + 1)}), ["items", 1, "attributes"]),
        (item(title={"a": 1}), ["items", 1, "attributes", "title"]),
        (item(title="x" * (MAX_CHARACTERS + 1)), ["items", 1, "attributes", "title"]),
        (item(weight=math.inf), ["items", 1, "attributes", "weight"]),
        (item(weight=math.nan), ["items", 1, "attributes", "weight"]),
        (item(genres=["a"] * (MAX_VALUES + 1)), ["items", 1, "attributes", "genres"]),
        (item(genres=[None]), ["items", 1, "attributes", "genres"]),
        (item(genres=5), ["items", 1, "attributes", "genres"]),
        (item(weight="heavy"), ["items", 1, "attributes", "weight"]),
        (item(weight=10**400), ["items", 1, "attributes", "weight"]),
        (item(weight=1e300), ["items", 1]),
        (item(colour="red"), ["items", 1]),
        (item(), ["items", 1]),
        (item("sku-004", title="x"), ["items", 1]),
        (item(17, title="x"), ["items", 1]),
        (item("soap", title="x"), ["items"]),
    ],
)
def test_a_field_that_cannot_be_used_is_named(client, body, place):
    answer = client.post("/items", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    problem = answer.json()["detail"][0]
    assert problem["loc"][1 : len(place) + 1] == place
    assert problem["msg"] and len(problem["msg"]) < 500
    assert client.get("/version").json()["new_items"] == 0


@pytest.mark.parametrize("ids", [None, [], [None], [17], "soap", ["i"] * (MAX_USERS + 1)], ids=lambda one: str(one)[:9])
def test_ids_that_cannot_be_taken_out_are_named(client, ids):
    answer = delete(client, ids)
    assert answer.status_code == 422
    assert "item_ids" in answer.json()["detail"][0]["loc"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_bodies_are_bounded_and_json(client, method):
    headers = {"content-type": "application/json"}
    large = b'{"item_ids": ["' + b"x" * (2 << 20) + b'"]}'
    assert client.request(method, "/items", content=large, headers=headers).status_code == 413
    for content in (b"", b"[", b"null", b"\xff", b'{"item_ids": ["\\ud800"]}', b"[" * 500_000):
        assert client.request(method, "/items", content=content, headers=headers).status_code == 422
    plain = client.request(method, "/items", content=b'{"item_ids": ["a"]}', headers={"content-type": "text/plain"})
    assert plain.status_code == 422
    assert "text/plain" in plain.text


def test_a_text_as_long_as_a_page_is_taken(client):
    said = {"title": "soap \u202e\U0001f6c1 " * 6_000, "note": "\x00\x1b"}
    assert client.post("/items", json={"items": [{"item_id": "long", "attributes": said}]}).status_code == 200
    assert "long" in candidates(client, k=61)["item_ids"]


def test_nothing_of_a_request_is_a_path(client, tmp_path):
    name = "../../elsewhere"
    said = {"title": name, "maker": "/etc/passwd"}
    assert client.post("/items", json={"items": [{"item_id": name, "attributes": said}]}).status_code == 200
    assert name in candidates(client, k=61)["item_ids"]
    assert [path.name for path in tmp_path.iterdir()] == ["new.jsonl"]


def test_what_is_wrong_with_the_service_is_no_fault_of_the_request(client, generator, monkeypatch):
    def fail(*arguments):
        raise InputError("the new items cannot be written: no space left")

    monkeypatch.setattr(ItemLog, "add", fail)
    answer = client.post("/items", json={"items": ITEMS})
    assert answer.status_code == 503
    assert answer.json() == {"detail": "the new items cannot be written: no space left"}
    assert len(generator.new_items) == 0


def test_candidates_are_answered_while_a_language_model_reads(client, telling, told):
    reading, go_on = threading.Event(), threading.Event()

    class Slow(told.Words):
        def encode(self, texts):
            reading.set()
            assert go_on.wait(30)
            return super().encode(texts)

    telling.bundle.text.__dict__["encoder"] = Slow()
    answers = []
    # more of them than there are threads that rank
    adding = [
        threading.Thread(
            target=lambda n=n: answers.append(client.post("/items", json={"items": [{**ITEMS[0], "item_id": f"s{n}"}]}))
        )
        for n in range(12)
    ]
    for thread in adding:
        thread.start()
    try:
        assert reading.wait(30)
        assert len(candidates(client)["item_ids"]) == 60
    finally:
        go_on.set()
        for thread in adding:
            thread.join()
    assert [one.status_code for one in answers] == [200] * 12
    assert client.get("/version").json()["new_items"] == 12


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["a|b", "soap"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
IDS = st.lists(st.sampled_from(["soap", "ink", "sku-001"]) | st.text(max_size=4) | JSON, max_size=3)
ATTRIBUTES = st.fixed_dictionaries(
    {}, optional={name: JSON for name in ("title", "genres", "weight", "maker", "year", "text_vector", "other")}
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "items": st.lists(
            st.fixed_dictionaries({"item_id": st.text(max_size=4) | JSON, "attributes": ATTRIBUTES | JSON}), max_size=3
        ),
        "item_ids": IDS | JSON,
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODY | JSON, method=st.sampled_from(["POST", "DELETE"]), whole=st.booleans())
def test_no_json_makes_it_stumble(client, body, method, whole):
    raw = json.dumps(body, ensure_ascii=whole).encode(errors="surrogatepass")
    answer = client.request(method, "/items", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 422), answer.text
    answer.json()
    found = candidates(client, k=1000)
    assert len(found["item_ids"]) == 60 + client.get("/version").json()["new_items"]
