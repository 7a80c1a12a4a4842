"""The client against a real server: typed answers, one sentence for what goes wrong, patience where it helps."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest
import uvicorn

from features.item_log import ItemLog
from serving.candidates import CandidateGenerator
from serving.client import Client, ServiceError
from serving.http.app import create_app
from serving.http.compute import Busy
from serving.http.config import ServiceConfig
from serving.http.listening import Server, listen

TOKEN = "a-token-of-this-test"


@contextmanager
def running(app):
    with listen("127.0.0.1", 0) as listener:
        server = Server(uvicorn.Config(app, log_level="error", ws="none"), app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope="module")
def app(generator, tmp_path_factory):
    log = ItemLog(tmp_path_factory.mktemp("new") / "new.jsonl")
    own = CandidateGenerator(generator.bundle, generator.resolved, log)
    return create_app(own, ServiceConfig(token=TOKEN))


@pytest.fixture(scope="module")
def url(app):
    with running(app) as url:
        yield url


@pytest.fixture
def client(url):
    with Client(url, token=TOKEN, timeout=30) as client:
        yield client


def test_titles_come_where_they_are_asked_for(client, generator):
    (found,), (plain,) = (client.candidates(["u001"], k=3, **how).candidates for how in ({"titles": True}, {}))
    assert found.titles == generator.recommend(["u001"], k=3).titles_of(0) and plain.titles is None
    assert found.item_ids == plain.item_ids
    (similar,) = client.similar(["sku-001"], k=3, titles=True).similar
    assert similar.titles == generator.similar(["sku-001"], k=3).titles_of(0)


def test_lists_are_those_in_process(client, generator):
    found = client.candidates(["u001", None], [None, ["sku-004", "nothing"]], k=7)
    expected = generator.recommend(["u001", None], [None, ["sku-004", "nothing"]], k=7)
    assert [one.item_ids for one in found.candidates] == expected.item_ids
    assert [one.source for one in found.candidates] == expected.sources
    assert found.candidates[1].unknown_history_items == 1
    assert found.model.build_id == generator.bundle.manifest.build_id
    near = client.similar(["sku-004"], k=3).similar[0]
    assert near.item_ids == generator.similar(["sku-004"], k=3).item_ids[0]
    assert client.version()["n_items"] == 60 and client.ready()


def test_items_come_and_go(client):
    assert client.add_items({"soap": {"genres": "a"}}).new_items == 1
    assert "soap" in client.candidates(["u001"], k=61, exclude_seen=False).candidates[0].item_ids
    assert client.remove_items(["soap"]).new_items == 0


def test_what_is_wrong_with_a_request_is_one_sentence_with_its_place(client, url):
    with pytest.raises(ServiceError, match=r"body\.k: ") as refused:
        client.candidates(["u001"], k=0)
    assert refused.value.status == 422 and len(refused.value.problems) == 1
    with pytest.raises(ServiceError, match="a bearer token is needed") as refused, Client(url) as stranger:
        stranger.add_items({"ink": {}})
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda one: one.candidates("u001"), "user_ids is a list of ids, got 'u001'"),
        (lambda one: one.candidates(b"u001"), "user_ids is a list of ids"),
        (lambda one: one.candidates(17), "user_ids is a list of ids, got 17"),
        (lambda one: one.candidates(None, "sku-001"), "histories is a list of lists of ids"),
        (lambda one: one.candidates(None, ["sku-001"]), r"histories\[0\] is a list of ids, got 'sku-001'"),
        (lambda one: one.candidates(["u001"], deny="sku-001"), "deny is a list of ids"),
        (lambda one: one.candidates(["u001"], asked_at="1"), "asked_at is a list of times"),
        (lambda one: one.similar("sku-001"), "item_ids is a list of ids, got 'sku-001'"),
        (lambda one: one.similar(["sku-001"], allow="sku-002"), "allow is a list of ids"),
        (lambda one: one.remove_items("soap"), "item_ids is a list of ids, got 'soap'"),
        (lambda one: one.erase_users("17"), "user_ids is a list of ids, got '17'"),
        (lambda one: one.add_items("soap"), "items are attributes by item id, got 'soap'"),
        (lambda one: one.add_items(["soap"]), "items are attributes by item id"),
        (lambda one: one.add_items({"soap": "red"}), r"items\['soap'\] is attributes by column, got 'red'"),
        (lambda one: one.add_events({"user_id": "u001"}), "events is a list of events"),
        (lambda one: one.add_events("u001"), "events is a list of events"),
        (lambda one: one.add_events([{}, "u001"]), r"events\[1\] is an event's fields by name, got 'u001'"),
    ],
)
def test_one_thing_in_the_place_of_a_list_is_refused_before_anybody_is_asked(ask, message):
    with pytest.raises(TypeError, match=message), Client("http://127.0.0.1:1", patience=0) as nobody:
        ask(nobody)


def test_lists_may_be_tuples_arrays_and_series(client, generator):
    expected = generator.recommend(["u001", "u002"], k=4).item_ids
    for users in (("u001", "u002"), np.array(["u001", "u002"]), pl.Series(["u001", "u002"]), iter(["u001", "u002"])):
        assert [one.item_ids for one in client.candidates(users, k=4).candidates] == expected
    without = client.candidates(["u001"], k=4, deny=np.array(expected[0][:1]), interests=None).candidates[0].item_ids
    assert without[:3] == expected[0][1:]


def test_a_look_at_the_registry_needs_nothing_said(client):
    with pytest.raises(ServiceError, match="follows no registry") as refused:
        client.reload()
    assert refused.value.status == 409


def test_a_service_that_is_busy_is_asked_again(client, app, monkeypatch):
    together, refusals = app.state.compute.together, []

    async def busy_at_first(*arguments, **settings):
        if len(refusals) < 2:
            refusals.append(time.monotonic())
            raise Busy(1)
        return await together(*arguments, **settings)

    monkeypatch.setattr(app.state.compute, "together", busy_at_first)
    assert client.candidates(["u001"]).candidates
    assert len(refusals) == 2 and refusals[1] - refusals[0] >= 1  # as long as it was told to wait


def test_one_without_patience_says_so_at_once(app, url, monkeypatch):
    async def busy(*_, **__):
        raise Busy(1)

    monkeypatch.setattr(app.state.compute, "together", busy)
    with pytest.raises(ServiceError, match="too many requests wait") as refused, Client(url, patience=0) as client:
        client.candidates(["u001"])
    assert refused.value.status == 429


def test_nobody_there_is_told_with_the_address():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        with Client(f"http://127.0.0.1:{port}/", patience=0) as client:
            assert repr(client) == f"Client('http://127.0.0.1:{port}')"
            assert not client.ready()
            with pytest.raises(ServiceError, match=f"http://127.0.0.1:{port} cannot be reached") as refused:
                client.candidates(["u001"])
            assert refused.value.status is None
