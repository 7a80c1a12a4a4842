"""Events over HTTP: known to the next answer, refused by field, and honest where the store is not there."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.http.event_requests import MAX_EVENT_ID, MAX_EVENTS, MAX_TYPE
from serving.http.fields import MAX_USERS
from serving.state.erasing import erase_impressions
from serving.state.events import Event, StoreError
from serving.state.extending import extended
from serving.state.impressions import ImpressionLog, scan_impressions
from serving.state.online_state import OnlineState
from serving.state.sqlite_events import SQLiteEvents

TOKEN = "a-token-of-this-test"
pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")


@pytest.fixture
def store(tmp_path):
    store = SQLiteEvents(tmp_path / "events.sqlite")
    yield store
    store.close()


def client_of(generator, store, brought=TOKEN):
    app = create_app(generator, ServiceConfig(token=TOKEN), online=OnlineState(store))
    return TestClient(app, headers={"authorization": f"Bearer {brought}"})


@pytest.fixture
def client(generator, store):
    return client_of(generator, store)


def post(client, *events, **settings):
    return client.post("/events", json={"events": list(events)}, **settings)


def delete(client, ids):
    return client.request("DELETE", "/users", json={"user_ids": ids})


def event(user="u003", item="sku-001", **more):
    return {"user_id": user, "item_id": item, **more}


def test_an_event_is_known_to_the_next_answer(client, generator, store):
    before = generator.recommend(["u003"]).item_ids[0]
    answer = post(client, event(item=before[0]), event(item="not-yet", type="view", event_id="e1"))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"model": generator.identity, "taken": 2, "repeated": 0, "unknown_items": 1}
    more = extended(generator, store, ["u003"])
    assert more.histories[0][-1] == before[0]
    assert before[0] not in generator.recommend(["u003"], more.histories, seen=more.seen).item_ids[0]
    again = post(client, event(item="not-yet", event_id="e1"), event("u004"))
    assert again.json() == {"model": generator.identity, "taken": 1, "repeated": 1, "unknown_items": 1}
    when = generator.bundle.known.latest + 1
    assert store.since(["u003"])[0] == [Event("u003", before[0], when), Event("u003", "not-yet", when, "view", "e1")]


def test_times_are_those_of_the_training_data(generator, store):
    manifest = dataclasses.replace(generator.bundle.manifest, data={"cutoff": 1_400_000_000})
    client = client_of(CandidateGenerator(dataclasses.replace(generator.bundle, manifest=manifest)), store)
    now = int(time.time())
    assert post(client, event(timestamp=5), event(), event(timestamp=now + 3600)).status_code == 200
    first, second, third = (one.timestamp for one in store.since(["u003"])[0])
    assert (first, third) == (5, now + 3600) and now <= second <= now + 30
    refused = post(client, event(), event(timestamp=now * 1000))
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "events", 1, "timestamp"]
    assert refused.json()["detail"][0]["msg"].endswith("which has not come; the training data counts in seconds")
    assert len(store.since(["u003"])[0]) == 3  # of a request that is refused, nothing is kept


def test_integers_and_their_strings_are_one_user(integer_generator, store):
    client = client_of(integer_generator, store)
    assert post(client, event(2**53 + 1, 1001), event(str(2**53 + 1), "1002")).json()["unknown_items"] == 0
    assert len(store.since([2**53 + 1])[0]) == 2
    erased = delete(client, [2**53 + 1]).json()
    assert (erased["erased"], erased["carried"][0]["user_id"]) == (2, str(2**53 + 1))


def test_who_is_erased_is_gone_and_the_answer_says_what_the_model_carries(client, generator, store):
    post(client, event("u003"), event("stranger"), event("u003"), event("u005"))
    answer = delete(client, ["u003", "stranger", "u039", "u003"])
    assert answer.status_code == 200, answer.text
    items = len(generator.bundle.known.histories(generator.user_ids.rows(["u003"])).values)
    assert answer.json() == {
        "model": generator.identity,
        "erased": 3,
        "carried": [
            {"user_id": "u003", "history_items": items, "trained": True},
            {"user_id": "u039", "history_items": 0, "trained": False},
        ],
        "impressions": None,
    }
    assert store.since(["u003", "stranger"]) == [[], []] and len(store.since(["u005"])[0]) == 1


def test_who_is_erased_where_answers_are_noted_is_told_that_those_are_kept(generator, store, tmp_path):
    log = ImpressionLog(tmp_path / "impressions")
    app = create_app(generator, ServiceConfig(token=TOKEN), online=OnlineState(store, log))
    client = TestClient(app, headers={"authorization": f"Bearer {TOKEN}"})
    client.post("/candidates", json={"user_ids": ["u003"]})
    said = delete(client, ["u003"]).json()["impressions"]
    assert "are kept" in said and "`recsys users erase USER" in said
    log.close()
    assert scan_impressions(log.folder).collect()["user_id"].to_list() == ["u003"]  # it is true
    assert erase_impressions(log.folder, ["u003"]) == 1  # and what it says to do helps


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, ["events"]),
        ({"events": []}, ["events"]),
        ({"events": [event()] * (MAX_EVENTS + 1)}, ["events"]),
        ({"events": [event()], "more": 1}, ["more"]),
        ({"events": [event(more=1)]}, ["events", 0, "more"]),
        ({"events": [event(), {"user_id": "u"}]}, ["events", 1, "item_id"]),
        ({"events": [event(None)]}, ["events", 0, "user_id"]),
        ({"events": [event(1.5)]}, ["events", 0, "user_id"]),
        ({"events": [event("u" * 2000)]}, ["events", 0, "user_id"]),
        ({"events": [event(), event(17)]}, ["events", 1, "user_id"]),
        ({"events": [event(), event(item=17)]}, ["events", 1, "item_id"]),
        ({"events": [event(timestamp=1.5)]}, ["events", 0, "timestamp"]),
        ({"events": [event(timestamp="now")]}, ["events", 0, "timestamp"]),
        ({"events": [event(timestamp=2**63)]}, ["events", 0, "timestamp"]),
        ({"events": [event(type="")]}, ["events", 0, "type"]),
        ({"events": [event(type="x" * (MAX_TYPE + 1))]}, ["events", 0, "type"]),
        ({"events": [event(event_id=5)]}, ["events", 0, "event_id"]),
        ({"events": [event(event_id="x" * (MAX_EVENT_ID + 1))]}, ["events", 0, "event_id"]),
    ],
)
def test_a_field_that_cannot_be_used_is_named(client, store, body, place):
    answer = client.post("/events", json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()["detail"][0]
    assert problem["loc"][1 : len(place) + 1] == place
    assert problem["msg"] and len(problem["msg"]) < 500
    assert not list(store.everything())


@pytest.mark.parametrize("ids", [None, [], [None], [17], "u003", ["u"] * (MAX_USERS + 1)], ids=lambda one: str(one)[:9])
def test_users_that_cannot_be_erased_are_named(client, store, ids):
    post(client, event("17"))
    answer = delete(client, ids)
    assert answer.status_code == 422
    assert "user_ids" in answer.json()["detail"][0]["loc"]
    assert len(store.since(["17"])[0]) == 1


def test_a_service_without_a_store_keeps_none(generator):
    for client in (client_of(generator, None),):
        for answer in (post(client, event()), delete(client, ["u003"])):
            assert answer.status_code == 403
            assert "this service keeps no events" in answer.json()["detail"]


def test_a_store_that_is_away_is_no_fault_of_the_request_and_acknowledges_nothing(client, store, monkeypatch):
    def fail(*arguments):
        raise StoreError("the events cannot be used: database or disk is full")

    for name in ("append", "erase"):
        monkeypatch.setattr(store, name, fail)
    for answer in (post(client, event()), delete(client, ["u003"])):
        assert answer.status_code == 503
        assert answer.json() == {"detail": "the events cannot be used: database or disk is full"}
    monkeypatch.undo()
    assert post(client, event()).status_code == 200


@pytest.mark.parametrize("path", ["/events", "/users", "/items", "/admin/reload"])
def test_who_may_not_is_told_before_the_body_is_looked_at(generator, store, path):
    client = client_of(generator, store, "another-token-than-that")
    method = "DELETE" if path == "/users" else "POST"
    json_type, large = {"content-type": "application/json"}, b" " * (2 << 20) + b"{}"
    for content, headers in ((b"", {}), (b"{", json_type), (b'{"a": 1}', json_type), (b"x", {}), (large, json_type)):
        answer = client.request(method, path, content=content, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"


def test_who_may_not_changes_nothing(generator, store):
    client = client_of(generator, store, "another-token-than-that")
    assert [post(client, event()).status_code, delete(client, ["u003"]).status_code] == [401, 401]
    assert client.post("/candidates", json={"user_ids": ["u003"]}).status_code == 200
    assert not list(store.everything())


@pytest.mark.parametrize(("method", "path"), [("POST", "/events"), ("DELETE", "/users")])
def test_bodies_are_bounded_and_json(client, method, path):
    headers = {"content-type": "application/json"}
    large = b'{"user_ids": ["' + b"x" * (2 << 20) + b'"]}'
    assert client.request(method, path, content=large, headers=headers).status_code == 413
    for content in (b"", b"[", b"null", b"\xff", b'{"user_ids": ["\\ud800"]}', b"[" * 500_000):
        assert client.request(method, path, content=content, headers=headers).status_code == 422
    plain = client.request(method, path, content=b'{"user_ids": ["a"]}', headers={"content-type": "text/plain"})
    assert plain.status_code == 422


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["u003", "sku-001"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FIELDS = {name: st.text(max_size=4) | JSON for name in ("timestamp", "type", "event_id", "other")}
POSTED = st.fixed_dictionaries(
    {"user_id": st.text(max_size=4) | JSON, "item_id": st.text(max_size=4) | JSON}, optional=FIELDS
)
BODY = st.fixed_dictionaries(
    {}, optional={"events": st.lists(POSTED | JSON, max_size=3), "user_ids": st.lists(st.text(max_size=4)) | JSON}
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODY | JSON, route=st.sampled_from([("POST", "/events"), ("DELETE", "/users")]), whole=st.booleans())
def test_no_json_makes_it_stumble(client, generator, store, body, route, whole):
    raw = json.dumps(body, ensure_ascii=whole).encode(errors="surrogatepass")
    answer = client.request(*route, content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 422), answer.text
    users = list(dict.fromkeys(one.user_id for one in store.everything()))
    more = extended(generator, store, users or [None])
    generator.recommend(users or [None], more.histories, seen=more.seen)
