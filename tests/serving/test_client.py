"""The client against a real server: typed answers, one sentence for what goes wrong, patience where it helps."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

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
