"""What goes on beside answering, over HTTP: events, impressions, a shadow; and an answer whatever becomes of them."""

from __future__ import annotations

import time

import pytest
from fastapi.testclient import TestClient

from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.state.events import StoreError
from serving.state.impressions import ImpressionLog, scan_impressions
from serving.state.online_state import OnlineState
from serving.state.shadow import Shadow
from serving.state.sqlite_events import SQLiteEvents

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")
TOKEN = "a-token-of-this-test"
BROUGHT = {"authorization": f"Bearer {TOKEN}"}


def client_of(generator, **online) -> TestClient:
    return TestClient(create_app(generator, ServiceConfig(token=TOKEN), online=OnlineState(**online)), headers=BROUGHT)


def figures(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def lists(client, **asked) -> list[dict]:
    answer = client.post("/candidates", json={"k": 10, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()["candidates"]


def test_what_a_user_does_is_known_to_the_next_answer(any_generator, tmp_path):
    with client_of(any_generator, events=SQLiteEvents(tmp_path / "events.sqlite")) as client:
        assert lists(client, user_ids=["stranger"])[0]["source"] == "popularity"
        seen = lists(client, user_ids=["u003"])[0]["item_ids"][:2]
        told = [{"user_id": user, "item_id": item} for user in ("u003", "stranger") for item in seen]
        assert client.post("/events", json={"events": told}).json()["taken"] == 4
        known, stranger, other = lists(client, user_ids=["u003", "stranger", "u004"])
        assert not {*known["item_ids"], *stranger["item_ids"]} & set(seen)
        assert stranger["source"] == "history"
        [expected] = any_generator.recommend(["stranger"], [seen], k=10).to_json()
        assert (stranger["item_ids"], stranger["scores"]) == (expected["item_ids"], pytest.approx(expected["scores"]))
        assert other == any_generator.recommend(["u004"], k=10).to_json()[0]
        # /invocations go the same way, and a given history wins
        frame = {"dataframe_records": [{"user_id": "stranger"}], "params": {"k": 10}}
        assert client.post("/invocations", json=frame).json()["predictions"][0]["item_ids"] == expected["item_ids"]
        [given] = lists(client, user_ids=["stranger"], histories=[["sku-001"]])
        [alone] = any_generator.recommend(["stranger"], [["sku-001"]], k=10, seen=[seen]).to_json()
        assert given["item_ids"] == alone["item_ids"]
        erased = client.request("DELETE", "/users", json={"user_ids": ["stranger"]}).json()
        assert erased["erased"] == 2
        assert lists(client, user_ids=["stranger"])[0]["source"] == "popularity"


def test_the_next_start_knows_them_too(generator, tmp_path):
    told = {"events": [{"user_id": "stranger", "item_id": "sku-001"}]}
    with client_of(generator, events=SQLiteEvents(tmp_path / "events.sqlite")) as client:
        client.post("/events", json=told)
    with client_of(generator, events=SQLiteEvents(tmp_path / "events.sqlite")) as client:
        assert lists(client, user_ids=["stranger"])[0]["source"] == "history"


def test_discarded_events_are_a_figure(generator, tmp_path):
    with client_of(generator, events=SQLiteEvents(tmp_path / "events.sqlite", keep=2)) as client:
        told = [{"user_id": "stranger", "item_id": f"sku-00{n}", "timestamp": n} for n in range(5)]
        assert client.post("/events", json={"events": told}).json()["taken"] == 5
        assert figures(client)["recsys_trimmed_events_total"] == 3


def test_a_store_that_is_away_costs_the_events_and_not_the_answer(generator, tmp_path, monkeypatch):
    store = SQLiteEvents(tmp_path / "events.sqlite")
    with client_of(generator, events=store) as client:

        def fail(*_):
            raise StoreError("the events do not answer")

        monkeypatch.setattr(store, "trails", fail)
        assert lists(client, user_ids=["u003"]) == generator.recommend(["u003"], k=10).to_json()
        assert figures(client)['recsys_degraded_total{what="events"}'] == 1


def test_answers_are_noted_with_their_request(generator, tmp_path):
    with client_of(generator, impressions=ImpressionLog(tmp_path)) as client:
        body = {"user_ids": ["u001", None], "k": 4}
        answer = client.post("/candidates", json=body, headers={"x-request-id": "shop-19"}).json()
    noted = scan_impressions(tmp_path).collect().sort("user_id", nulls_last=True)
    assert noted["request_id"].to_list() == ["shop-19"] * 2
    assert noted["item_ids"].to_list() == [one["item_ids"] for one in answer["candidates"]]
    assert noted["build_id"].to_list() == [answer["model"]["build_id"]] * 2


def test_impressions_that_cannot_be_written_are_counted_and_the_first_reason_is_logged(
    generator, tmp_path, monkeypatch, caplog
):
    def full(folder, frame):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serving.state.impressions._write", full)
    log = ImpressionLog(tmp_path, rows=1)
    with caplog.at_level("WARNING", "recsys.serving"), client_of(generator, impressions=log) as client:
        for n in range(1, 3):
            lists(client, user_ids=["u001"])
            end = time.monotonic() + 20
            while figures(client).get('recsys_degraded_total{what="impressions"}') != n:
                assert time.monotonic() < end
                time.sleep(0.02)
    assert log.lost == 2
    assert sum("failed" in one.getMessage() for one in caplog.records) == 1


def test_a_challenger_is_asked_and_changes_nothing(generator, tiny, strings, tmp_path):
    from serving.bundles.writer import write_bundle

    other = CandidateGenerator.load(write_bundle(tmp_path / "b", tiny.model_for(strings, seed=3), strings, name="tiny"))
    with client_of(generator, shadow=Shadow(other, share=1.0)) as client:
        assert lists(client, user_ids=["u001", "u002"]) == generator.recommend(["u001", "u002"], k=10).to_json()
        end = time.monotonic() + 20
        while figures(client).get('recsys_shadow_requests{outcome="asked"}') != 1:
            assert time.monotonic() < end
            time.sleep(0.02)
        mine, theirs = (one.recommend(["u001", "u002"], k=10).item_ids for one in (generator, other))
        share = sum(len(set(a) & set(b)) / 10 for a, b in zip(mine, theirs, strict=True)) / 2
        assert 0 < share < 1
        assert figures(client)['recsys_shadow_overlap{k="10"}'] == pytest.approx(share)
