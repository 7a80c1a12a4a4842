"""What an operator sees: figures, ids of requests, refusals when there is too much, other origins."""

from __future__ import annotations

import json
import logging
import threading

import pytest
from fastapi.testclient import TestClient

from features.errors import InputError
from serving.http.app import create_app
from serving.http.compute import Busy, Late
from serving.http.config import ServiceConfig
from serving.log import LOG, JsonLine

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")


@pytest.fixture
def client(generator):
    return TestClient(create_app(generator))


def figures(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_requests_are_counted_by_what_was_declared(client, generator):
    client.post("/candidates", json={"user_ids": ["u001", "stranger"], "k": 3})
    client.post("/candidates", json={"histories": [["sku-001", "nothing"]], "k": 3})
    client.post("/candidates", json={"k": 0})
    client.get("/made/up/by/a/client")
    found = figures(client)
    assert found['recsys_requests_total{route="/candidates",status="200"}'] == 2
    assert found['recsys_requests_total{route="/candidates",status="422"}'] == 1
    assert found['recsys_requests_total{route="other",status="404"}'] == 1
    assert not any("made" in name for name in found)
    assert found['recsys_request_seconds_count{route="/candidates"}'] == 3
    assert [found[f'recsys_answers_total{{source="{one}"}}'] for one in ("user", "history", "popularity")] == [1, 1, 1]
    assert (found["recsys_history_items_total"], found["recsys_unknown_history_items_total"]) == (2, 1)
    assert (found["recsys_batch_users_sum"], found["recsys_batch_users_count"]) == (3, 2)
    assert (
        found['recsys_stage_seconds_count{stage="compute"}'] == found['recsys_stage_seconds_count{stage="wait"}'] == 2
    )
    build = generator.bundle.manifest.build_id
    assert found[f'recsys_model_workers{{build_id="{build}",name="tiny",version=""}}'] == 1


def test_a_request_has_an_id_its_own_or_a_new_one(client):
    given = client.get("/healthz", headers={"x-request-id": "shop-17"})
    assert given.headers["x-request-id"] == "shop-17"
    made = [
        client.get("/healthz", headers={"x-request-id": bad}).headers["x-request-id"] for bad in ("", "a b", "x" * 65)
    ]
    assert len(set(made)) == 3 and all(one.isalnum() for one in made)


def test_each_request_is_a_line_of_the_log_where_that_is_asked_for(generator, caplog):
    LOG.propagate = True
    with caplog.at_level(logging.INFO, logger="recsys.serving"):
        TestClient(create_app(generator)).get("/healthz")
        assert not caplog.records
        client = TestClient(create_app(generator, ServiceConfig(log_requests=True)))
        client.post("/candidates", json={"user_ids": ["u001"]}, headers={"x-request-id": "shop-18"})
    line = json.loads(JsonLine().format(caplog.records[0]))
    assert (line["event"], line["request_id"], line["route"], line["status"]) == (
        "request", "shop-18", "/candidates", 200,
    )  # fmt: skip
    assert "u001" not in json.dumps(line)  # who asked is nobody's business


def test_what_fails_is_a_line_of_the_log_and_an_answer_with_the_requests_id(generator, monkeypatch, caplog):
    LOG.propagate = True
    app = create_app(generator)

    async def fail(*_, **__):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(app.state.compute, "together", fail)
    client = TestClient(app)
    answer = client.post("/candidates", json={"user_ids": ["u001"]}, headers={"x-request-id": "shop-19"})
    assert answer.status_code == 500 and answer.headers["x-request-id"] == "shop-19"
    assert "its log says why" in answer.json()["detail"] and "mistake" not in answer.text
    line = json.loads(JsonLine().format(caplog.records[0]))
    assert (line["event"], line["level"], line["request_id"], line["route"]) == (
        "request_failed", "error", "shop-19", "/candidates",
    )  # fmt: skip
    assert line["error"].endswith("RuntimeError: a mistake of ours")
    assert figures(client)['recsys_requests_total{route="/candidates",status="500"}'] == 1


@pytest.mark.parametrize(("error", "status"), [(Busy(7), 429), (Late("it has waited"), 503)])
def test_what_cannot_be_computed_now_says_when_to_come_again(generator, monkeypatch, error, status):
    app = create_app(generator)

    async def refuse(*_, **__):
        raise error

    monkeypatch.setattr(app.state.compute, "together", refuse)
    client = TestClient(app)
    answer = client.post("/candidates", json={"user_ids": ["u001"]})
    assert answer.status_code == status
    assert int(answer.headers["retry-after"]) == (7 if status == 429 else 1)
    assert figures(client)[f'recsys_refused_total{{why="{"busy" if status == 429 else "late"}"}}'] == 1


def test_a_full_queue_answers_429_and_then_goes_on(generator, monkeypatch):
    app = create_app(generator, ServiceConfig(threads=1, most_waiting=2))
    begun, go_on = threading.Event(), threading.Event()
    recommend = type(generator).recommend

    def slow(self, *arguments, **settings):
        begun.set()
        assert go_on.wait(20)
        return recommend(self, *arguments, **settings)

    monkeypatch.setattr(type(generator), "recommend", slow)
    statuses: list[int] = []
    with TestClient(app) as client:

        def ask():
            statuses.append(client.post("/candidates", json={"user_ids": ["u001", "u002"], "k": 3}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        threads[0].start()
        assert begun.wait(20)
        for one in threads[1:]:
            one.start()
        for _ in range(400):  # one is computed, one waits, and the others are refused at once
            if len(statuses) == 4:
                break
            threading.Event().wait(0.02)
        assert statuses == [429] * 4
        go_on.set()
        for one in threads:
            one.join(20)
        assert sorted(statuses) == [200, 200, 429, 429, 429, 429]
        assert client.post("/candidates", json={"user_ids": ["u001"]}).status_code == 200


def test_a_service_that_ends_is_not_ready(client):
    assert client.get("/readyz").status_code == 200
    client.app.state.draining = True
    assert client.get("/readyz").status_code == 503
    assert client.post("/candidates", json={"user_ids": ["u001"]}).status_code == 200


def test_pages_of_other_origins_may_ask_only_where_they_are_named(generator):
    asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    closed = TestClient(create_app(generator)).options("/candidates", headers=asked)
    assert "access-control-allow-origin" not in closed.headers
    client = TestClient(create_app(generator, ServiceConfig(cors=("https://shop.example",))))
    assert client.options("/candidates", headers=asked).headers["access-control-allow-origin"] == asked["origin"]
    other = client.options("/candidates", headers={**asked, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": -1}, "threads is 0 or more, got -1"),
        ({"most_waiting": 0}, "most_waiting is above 0, got 0"),
        ({"poll_seconds": float("nan")}, "poll_seconds is 0 or more, got nan"),
        ({"keep_events": 0}, "keep_events is above 0, got 0"),
        ({"least_recall": 1.01}, "least_recall is from 0 to 1, got 1.01"),
        ({"shadow_share": -0.1}, "shadow_share is from 0 to 1, got -0.1"),
        ({"token": "short"}, "token is at least 16 characters"),
        ({"token": "0123456789 0123456789"}, "token is at least 16 characters"),
        *(
            ({"cors": ("*", one)}, "cors is an origin as browsers write it, scheme://host")
            for one in ("shop.example", "https://shop.example/", "https://Shop.example", "https://", "https://a:b", "")
        ),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        ServiceConfig(**settings)


@pytest.mark.parametrize("origin", ["*", "https://shop.example", "http://localhost:3000", "http://[::1]:80", "app://x"])
def test_origins_as_browsers_write_them_are_taken(origin):
    assert ServiceConfig(cors=(origin,)).cors == (origin,)


def test_a_token_is_not_shown():
    assert "a-secret-of-some-length" not in repr(ServiceConfig(token="a-secret-of-some-length"))


def test_reload_says_that_there_is_nothing_to_follow(generator):
    token = "a-token-of-this-test"
    client = TestClient(create_app(generator, ServiceConfig(token=token)))
    assert client.post("/admin/reload").status_code == 401
    answer = client.post("/admin/reload", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 409


def test_a_request_gets_the_same_answer_in_company_as_alone(generator, monkeypatch):
    """Of each body the status and the lists, asked one by one and while a thread is held so that they go together."""
    bodies = [
        {"k": 4},
        {"user_ids": [], "k": 4},
        {"user_ids": ["u001", None], "k": 4},
        {"histories": [["sku-001", "nothing"], None], "k": 4},
        {"user_ids": ["u002"], "histories": [["sku-003"]], "k": 4},
        {"user_ids": ["u002"], "histories": [], "k": 4},
        {"user_ids": [17], "k": 4},
        {"user_ids": ["u003"], "deny": ["sku-001"], "k": 4},
    ]
    app = create_app(generator, ServiceConfig(threads=1))
    begun, go_on = threading.Event(), threading.Event()
    with TestClient(app) as client:
        alone = [client.post("/candidates", json=body) for body in bodies]
        recommend = type(generator).recommend

        def held(self, *arguments, **settings):
            begun.set()
            assert go_on.wait(20)
            return recommend(self, *arguments, **settings)

        monkeypatch.setattr(type(generator), "recommend", held)
        first = threading.Thread(target=client.post, args=("/candidates",), kwargs={"json": {"user_ids": ["u001"]}})
        first.start()
        assert begun.wait(20)
        together: dict[int, object] = {}

        def ask(n: int) -> None:
            together[n] = client.post("/candidates", json=bodies[n])

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(bodies))]
        for one in threads:
            one.start()
        threading.Event().wait(0.5)
        go_on.set()
        for one in (first, *threads):
            one.join(20)
        for n, one in enumerate(alone):
            assert together[n].status_code == one.status_code, bodies[n]
            assert together[n].json() == one.json(), bodies[n]
        assert [one.status_code for one in alone] == [422, 200, 200, 200, 200, 422, 422, 200]
