"""What the service says of itself: examples that work with whatever is served, and a page that needs nobody else."""

from __future__ import annotations

import copy
import dataclasses
import re
import shlex
from html import unescape
from importlib.metadata import version

import numpy as np
import pytest
from fastapi.testclient import TestClient

from features.dataset import Dataset
from features.item_log import ItemLog
from features.schema import Sequence
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.http.content_policy import policy
from serving.http.documentation_page import page_of
from serving.state.online_state import OnlineState
from serving.state.sqlite_events import SQLiteEvents

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")
TOKEN = "a-token-of-this-test"
GUARDED = {
    ("POST", "/items"),
    ("DELETE", "/items"),
    ("POST", "/events"),
    ("DELETE", "/users"),
    ("POST", "/admin/reload"),
}


def of_strings(generators, integer_generator, tiny, folder):
    return generators["two-tower"]


def of_integers(generators, integer_generator, tiny, folder):
    return integer_generator


def sequential(generators, integer_generator, tiny, folder):
    return generators["sequential"]


def timed(generators, integer_generator, tiny, folder):
    """Whose model reads when items came."""
    data, user = tiny.make_dataset(), (Sequence("history", timed=True),)
    schema = dataclasses.replace(tiny.schema, user=user)
    prepared = tiny.prepared_of(Dataset.construct("timed", data.interactions, data.items, data.users, schema))
    model = tiny.model_for(prepared, family="sequential", backbone="hstu", times="request")
    return CandidateGenerator.load(write_bundle(folder / "bundle", model, prepared))


def of_nobody(generators, integer_generator, tiny, folder):
    """Of whose users training has seen none, as in sessions."""
    found = generators["sequential"]
    known = copy.copy(found.bundle.known)
    known.trained = np.zeros_like(known.trained)
    return CandidateGenerator(dataclasses.replace(found.bundle, known=known), found.resolved)


@pytest.fixture(params=[of_strings, of_integers, sequential, timed, of_nobody], ids=lambda one: one.__name__)
def client(request, generators, integer_generator, tiny, tmp_path):
    """A service that takes everything there is to take."""
    found = request.param(generators, integer_generator, tiny, tmp_path)
    generator = CandidateGenerator(found.bundle, found.resolved, ItemLog(tmp_path / "new.jsonl"))
    store = SQLiteEvents(tmp_path / "events.sqlite")
    app = create_app(generator, ServiceConfig(token=TOKEN), online=OnlineState(store))
    yield TestClient(app, headers={"authorization": f"Bearer {TOKEN}"})
    store.close()


def routes(document):
    return [(m.upper(), path, one) for path, methods in document["paths"].items() for m, one in methods.items()]


def bodies(document):
    """Each route with each of the examples of what it takes."""
    for method, path, route in routes(document):
        schema = route.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            examples = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"]
            yield from ((method, path, one) for one in examples)


def test_examples_work_and_do_no_harm(client):
    generator, document = client.app.state.live.generator, client.get("/openapi.json").json()
    history = [["17"]] if generator.item_ids.integers else [["sku-001"]]
    before = generator.recommend(None, history).to_json()
    asked = list(bodies(document))
    assert {path for _, path, _ in asked} == {"/candidates", "/similar", "/invocations", "/items", "/events", "/users"}
    for method, path, body in asked:
        answer = client.request(method, path, json=body)
        assert answer.status_code == 200, (path, body, answer.text)
        told = answer.json()
        if path == "/candidates":
            assert all(one["item_ids"] for one in told["candidates"])
            assert all(one["unknown_history_items"] == 0 for one in told["candidates"])
        if path == "/similar":
            assert {one["source"] for one in told["similar"]} == {"item"}
        if path == "/users":
            assert told["carried"] == []  # nobody who is known
    (wanted,) = [body["where"] for _, path, body in asked if path == "/candidates" and "where" in body]
    assert wanted["genres"] in ("a", "b", "c")
    assert generator.recommend(None, history).to_json() == before


def test_the_document_has_what_machines_ask_it_for(client):
    document = client.get("/openapi.json").json()
    assert document["info"]["version"] == version("recsys-unified")
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert {(method, path) for method, path, one in routes(document) if one.get("security")} == GUARDED
    for method, path, one in routes(document):
        assert one["responses"].keys() >= ({"200", "401", "403"} if (method, path) in GUARDED else {"200"})
        if method != "GET":
            assert one["responses"].keys() >= {"200", "413", "422", "503"}
    assert not document["paths"]["/admin/reload"]["post"].get("requestBody", {}).get("required")


def test_examples_follow_the_version_that_answers(generators, tiny, tmp_path):
    client = TestClient(create_app(generators["two-tower"]))
    before = list(bodies(client.get("/openapi.json").json()))
    small = tiny.prepared_of(tiny.make_dataset(users=12, items=20))
    folder = write_bundle(tmp_path / "small" / "bundle", tiny.model_for(small), small)
    client.app.state.live.generator = CandidateGenerator.load(folder)
    after = list(bodies(client.get("/openapi.json").json()))
    assert after != before and any("u010" in str(body) for _, _, body in after)


def test_the_page_shows_everything_and_asks_nobody_for_anything(client):
    document, answer = client.get("/openapi.json").json(), client.get("/docs")
    page = answer.text
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == policy(page) and "script-src 'none'" in policy(page)
    assert not re.search(r"<script|<link(?! rel=\"icon\" href=\"data:)|<img|<iframe|\bsrc=|url\(|@import", page)
    assert all(one.startswith(("#", "openapi.json", "data:")) for one in re.findall(r'href="([^"]*)"', page))
    anchors = re.findall(r'id="([^"]*)"', page)
    assert len(set(anchors)) == len(anchors)
    assert {one[1:] for one in re.findall(r'href="(#[^"]*)"', page)} <= set(anchors)
    assert {f"{method}{path}" for method, path, _ in routes(document)} <= set(anchors)
    # each example stands there as a command that a shell understands
    commands = [shlex.split(unescape(one)) for one in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
    assert (
        len(commands) == len(list(bodies(document))) + sum("requestBody" not in one for *_, one in routes(document)) + 1
    )
    assert all(one[0] == "curl" and "http://testserver/" in " ".join(one) for one in commands)
    assert client.get("/redoc").status_code == 404


def test_whatever_ids_hold_is_text_on_the_page_and_in_the_shell():
    evil = "</pre><script>alert(1)</script>'; rm -rf $HOME #"
    document = {
        "info": {"title": "<b>", "version": "1"},
        "components": {"schemas": {"Body": {"properties": {"<i>": {"type": "string"}}, "examples": [{"id": evil}]}}},
        "paths": {
            "/a": {
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Body"}}}},
                    "responses": {"200": {"description": "Successful Response"}},
                }
            }
        },
    }
    page = page_of(document, "http://x")
    assert not re.search("<script|<b>|<i>", page)
    (command,) = re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)
    assert shlex.split(unescape(command))[-1] == '{"id": "' + evil + '"}'
