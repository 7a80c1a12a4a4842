"""Ten thousand random bodies over the whole interface, to a real server: nothing makes it stumble, or answer a 500.

The bodies follow the OpenAPI document for the most part, and go wrong somewhere: a type, a limit, a field, a bracket.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import threading
from typing import Any

import pytest
import uvicorn

from features.item_log import ItemLog
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.http.listening import PatientOnce, Server, listen
from serving.state.online_state import OnlineState
from serving.state.sqlite_events import SQLiteEvents

TOKEN = "a-token-of-this-test"
BODIES, CONNECTIONS = 10_000, 4

#: what is said where something goes wrong
ODD: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, math.nan, math.inf, 1e308, "", "u001",
    "sku-001", "17", "\x00", "\ud800", "é" * 500, "x" * 5_000, [], [[]], [None], {}, {"": {}}, {"min": {}},
    ["u001"] * 1_001, [0] * 2_000,
]  # fmt: skip


class Bodies:
    """Random bodies for schemas of an OpenAPI document.

    Args:
        document: The document.
        seed: Of the draws.
    """

    def __init__(self, document: dict[str, Any], seed: int) -> None:
        self._parts, self._random = document["components"]["schemas"], random.Random(seed)

    def body(self, schema: dict[str, Any]) -> bytes:
        """One, as it is sent: JSON for the most part."""
        text = json.dumps(self._value(schema, 0), ensure_ascii=self._random.random() < 0.5)
        raw = text.encode(errors="surrogatepass")
        if self._random.random() < 0.05:  # cut or bent
            place = self._random.randrange(len(raw) + 1)
            raw = raw[:place] + self._random.choice([b"", b"[" * 50_000, b"\xff", b"}", b'"']) + raw[place + 1 :]
        return raw

    def _value(self, schema: dict[str, Any], depth: int) -> Any:
        draw = self._random
        if draw.random() < 0.04 or depth > 6:
            return draw.choice(ODD)
        if "$ref" in schema:
            return self._value(self._parts[schema["$ref"].rpartition("/")[2]], depth + 1)
        for name in ("anyOf", "oneOf", "allOf"):
            if name in schema:
                return self._value(draw.choice(schema[name]), depth + 1)
        if "enum" in schema or "const" in schema:
            return draw.choice(schema.get("enum") or [schema["const"]])
        kind = schema.get("type")
        if kind == "object":
            given = schema.get("properties", {})
            needed = set(schema.get("required", ()))
            value = {
                name: self._value(one, depth + 1)
                for name, one in given.items()
                if (name in needed and draw.random() < 0.98) or draw.random() < 0.4
            }
            if isinstance(schema.get("additionalProperties"), dict) or draw.random() < 0.03:
                inner = schema.get("additionalProperties")
                inner = inner if isinstance(inner, dict) else {}
                value |= {draw.choice(["genres", "city", "age", "title", "x"]): self._value(inner, depth + 1)}
            return value
        if kind == "array":
            return [self._value(schema.get("items", {}), depth + 1) for _ in range(draw.choice((0, 1, 1, 2, 3)))]
        if kind == "string":
            return draw.choice(["u001", "u002", "sku-001", "sku-002", "soap", "a", "nobody", "é"])
        if kind in ("integer", "number"):
            return draw.choice(
                [schema.get("minimum", 0), schema.get("maximum", 10), 1, 2, 5, 1.5 if kind == "number" else 3]
            )
        if kind == "boolean":
            return draw.random() < 0.5
        return None if kind == "null" else draw.choice(ODD)


@pytest.fixture(scope="module")
def app(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    own = CandidateGenerator(generator.bundle, generator.resolved, ItemLog(folder / "new.jsonl"))
    return create_app(own, ServiceConfig(token=TOKEN), online=OnlineState(SQLiteEvents(folder / "events.sqlite")))


@pytest.fixture(scope="module")
def port(app):
    with listen("127.0.0.1", 0) as listener:
        server = Server(uvicorn.Config(app, log_level="error", http=PatientOnce, ws="none"), app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(20)


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def routes(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """All that take a body: method, path, schema."""
    return [
        (method.upper(), path, operation["requestBody"]["content"]["application/json"]["schema"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]


def test_nothing_makes_it_stumble(port):
    document = json.loads(ask(port, "GET", "/openapi.json")[1])
    asked = routes(document)
    assert {path for _, path, _ in asked} == {
        "/candidates", "/similar", "/invocations", "/items", "/events", "/users", "/admin/reload",
    }  # fmt: skip
    before = ask(port, "GET", "/version")[1]
    statuses: dict[tuple[str, int], int] = {}
    wrong: list[str] = []
    ended: list[int] = []

    def send(seed: int) -> None:
        bodies, draw = Bodies(document, seed), random.Random(-seed)
        headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(BODIES // CONNECTIONS):
            method, path, schema = draw.choice(asked)
            body = bodies.body(schema)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            told = answer.read()
            statuses[path, answer.status] = statuses.get((path, answer.status), 0) + 1
            if answer.status not in (200, 409, 413, 422):
                wrong.append(f"{answer.status} {method} {path} {body[:300]!r}: {told[:300]!r}")
            json.loads(told)
        connection.close()
        ended.append(seed)

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(1, CONNECTIONS + 1)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong, wrong[:5]
    assert len(ended) == CONNECTIONS
    assert sum(statuses.values()) == BODIES
    # they went deep as well: of every route some were understood, and some refused
    for path in ("/candidates", "/similar", "/invocations", "/items", "/events", "/users"):
        assert statuses.get((path, 200), 0) > 20 and statuses.get((path, 422), 0) > 20, statuses
    assert json.loads(ask(port, "GET", "/version")[1])["build_id"] == json.loads(before)["build_id"]
    assert ask(port, "GET", "/readyz")[0] == 200


def test_a_hundred_megabytes_are_refused_and_not_held(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/candidates")
    connection.putheader("content-type", "application/json")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    chunk = b"%x\r\n" % (1 << 20) + b" " * (1 << 20) + b"\r\n"
    sent = 0
    try:
        while sent < 100:
            connection.send(chunk)
            sent += 1
        connection.send(b"0\r\n\r\n")
        status = connection.getresponse().status
    except ConnectionError:  # it had answered, and hung up before all was sent
        status = 413
    connection.close()
    assert status == 413
    assert ask(port, "GET", "/readyz")[0] == 200


@pytest.mark.parametrize(
    "body", [b"[" * 1_000_000, b'{"a":' * 200_000, b"1" * 1_000_000, b'{"k": NaN}', b'{"k": 1e999}']
)
def test_json_that_is_deep_long_or_no_number_is_refused(port, body):
    status, told = ask(port, "POST", "/candidates", body)
    assert status == 422 and len(told) < 2_000
