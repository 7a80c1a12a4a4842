"""The service over ASGI: answers, limits, and no body that makes it stumble."""

from __future__ import annotations

import asyncio
import json
import math

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.http.app import create_app
from serving.http.fields import MAX_USERS

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")


@pytest.fixture(scope="module")
def client(generator):
    return TestClient(create_app(generator))


@pytest.fixture(scope="module")
def numbers(integer_generator):
    return TestClient(create_app(integer_generator))


def test_lists_over_http_are_those_in_process(any_generator, strings):
    users = [*strings.users.ids.to_list(), "stranger", None]
    histories = [None] * 40 + [["sku-004", "nothing"], None]
    client = TestClient(create_app(any_generator))
    answer = client.post("/candidates", json={"user_ids": users, "histories": histories, "k": 12})
    assert answer.status_code == 200
    body = answer.json()
    expected = any_generator.recommend(users, histories, k=12)
    assert body["candidates"] == expected.to_json()
    assert [one["source"] for one in body["candidates"][-3:]] == ["popularity", "history", "popularity"]
    assert body["candidates"][-2]["unknown_history_items"] == 1
    assert body["model"] == {"name": "tiny", "version": None, "build_id": any_generator.bundle.manifest.build_id}


def test_invocations_answer_as_mlflow_would(client, generator):
    expected = generator.recommend(["u001", "stranger"], [None, ["sku-004"]], k=4).to_json()
    for frame in (
        {"dataframe_records": [{"user_id": "u001"}, {"user_id": "stranger", "history": ["sku-004"]}]},
        {"dataframe_records": [{"user_id": "u001", "history": []}, {"user_id": "stranger", "history": ["sku-004"]}]},
        {"dataframe_split": {"columns": ["user_id", "history"], "data": [["u001", None], ["stranger", ["sku-004"]]]}},
        {
            "dataframe_split": {
                "columns": ["history", "user_id"],
                "data": [[[], "u001"], [["sku-004"], "stranger"]],
                "index": [0, 1],
            }
        },
    ):
        answer = client.post("/invocations", json={**frame, "params": {"k": 4}})
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == expected
        assert answer.json()["model"]["build_id"] == generator.bundle.manifest.build_id


def test_large_ids_are_strings_in_answers_and_both_in_questions(numbers, tiny):
    asked = {"k": 60, "exclude_seen": False}
    as_numbers = numbers.post("/candidates", json={"user_ids": tiny.large, **asked}).json()
    as_strings = numbers.post("/candidates", json={"user_ids": [str(one) for one in tiny.large], **asked}).json()
    assert as_numbers == as_strings
    for one in as_numbers["candidates"]:
        assert {str(n) for n in tiny.large} <= set(one["item_ids"])
        assert one["source"] == "user"
    assert [one["user_id"] for one in as_numbers["candidates"]] == [str(n) for n in tiny.large]
    mixed = numbers.post(
        "/candidates", json={"user_ids": ["017", 10**30, 17], "histories": [None, None, ["17", 17, "x"]]}
    )
    assert [one["source"] for one in mixed.json()["candidates"]] == ["popularity", "popularity", "user"]
    assert mixed.json()["candidates"][2]["unknown_history_items"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_ids"),
        ({"user_ids": None}, "user_ids"),
        ({"user_ids": "u001"}, "user_ids"),
        ({"user_ids": [["u001"]]}, "user_ids"),
        ({"user_ids": [1.5]}, "user_ids"),
        ({"user_ids": [True]}, "user_ids"),
        ({"user_ids": [17]}, "user_ids"),
        ({"user_ids": [math.nan]}, "user_ids"),
        ({"user_ids": ["u"] * (MAX_USERS + 1)}, "user_ids"),
        ({"user_ids": ["u" * 2000]}, "user_ids"),
        ({"user_ids": ["a"], "histories": []}, "histories"),
        ({"histories": ["sku-001"]}, "histories"),
        ({"histories": [[None]]}, "histories"),
        ({"histories": [["sku-001"], [3]]}, "histories"),
        ({"histories": [["s"] * 10_001]}, "histories"),
        ({"user_ids": ["a"], "k": 0}, "k"),
        ({"user_ids": ["a"], "k": -1}, "k"),
        ({"user_ids": ["a"], "k": 1001}, "k"),
        ({"user_ids": ["a"], "k": "10"}, "k"),
        ({"user_ids": ["a"], "k": 1.0}, "k"),
        ({"user_ids": ["a"], "k": math.nan}, "k"),
        ({"user_ids": ["a"], "k": math.inf}, "k"),
        ({"user_ids": ["a"], "k": 10**400}, "k"),
        ({"user_ids": ["a"], "k": None}, "k"),
        ({"user_ids": ["a"], "exclude_seen": 1}, "exclude_seen"),
        ({"user_ids": ["a"], "exclude_seen": "no"}, "exclude_seen"),
        ({"user_ids": ["a"], "top_k": 5}, "top_k"),
        ({"user_ids": ["a"], "attributes": {}}, "attributes"),
        ({"user_ids": ["a"], "attributes": []}, "attributes"),
        ({"user_ids": ["a"], "attributes": [{"shoe": 43}]}, "attributes"),
        ({"user_ids": ["a"], "attributes": [{"age": "old"}]}, "age"),
        ({"user_ids": ["a"], "attributes": [{"age": math.nan}]}, "age"),
        ({"user_ids": ["a"], "attributes": [{"age": 10**60}]}, "age"),
        ({"user_ids": ["a"], "attributes": [{"city": 5}]}, "city"),
        ({"user_ids": ["a", "b"], "attributes": [{"city": "Riga"}, {"city": 5}]}, "city"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(client, body, field):
    answer = client.post("/candidates", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert field in answer.json()["detail"][0]["loc"]
    assert answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "dataframe_split or dataframe_records"),
        ({"inputs": [["u001"]]}, "inputs"),
        ({"instances": [{"user_id": "u001"}]}, "instances"),
        ({"dataframe_split": {"columns": ["user_id"], "data": []}, "dataframe_records": []}, "dataframe_records"),
        (
            {"dataframe_split": {"columns": ["user"], "data": [["a"]]}},
            "column 0: there is no 'user'; there are user_id",
        ),
        (
            {"dataframe_split": {"columns": ["user_id", "user_id"], "data": [["a", "b"]]}},
            "column 1: 'user_id' is there already",
        ),
        (
            {"dataframe_split": {"columns": ["user_id", "history"], "data": [["a", None], ["a"]]}},
            "row 1: 1 values, and there are 2 columns",
        ),
        ({"dataframe_split": {"columns": ["user_id", "history"], "data": [["a", [2.5]]]}}, "history"),
        ({"dataframe_records": [{"user": "a"}]}, "user"),
        ({"dataframe_records": [{"user_id": "a"}], "params": {"kk": 5}}, "kk"),
        ({"dataframe_records": [{"user_id": "a"}], "params": {"k": "5"}}, "k"),
        ({"dataframe_records": [{"user_id": 5}]}, "user_id"),
    ],
)
def test_an_invocation_that_cannot_be_used_is_explained(client, body, field):
    answer = client.post("/invocations", json=body)
    assert answer.status_code == 422
    assert field in answer.text


#: what is wrong in a cell, and what is said of it
CELLS = [
    ("user_id", 1.5, (), "Input should be a valid string or a valid integer"),
    ("user_id", "u" * 2000, (), "String should have at most 1000 characters"),
    ("user_id", 17, (), "is the integer 17; the ids 'user_id' are strings"),
    ("history", "sku-001", (), "is a string, not a list"),
    ("history", ["sku-001", None], (1,), "Input should be a valid string or a valid integer"),
    ("history", ["sku-001", 7], (1,), "is the integer 7; the ids 'item_id' are strings"),
    ("history_times", ["now"], (0,), "Input should be a valid integer"),
    ("asked_at", 1.5, (), "Input should be a valid integer"),
]


@pytest.mark.parametrize(("column", "value", "inside", "message"), CELLS)
def test_a_cell_that_cannot_be_used_is_told_by_row_and_column(client, column, value, inside, message):
    columns = ["user_id", "history", *([column] if column not in ("user_id", "history") else [])]
    rows = [dict.fromkeys(columns) for _ in range(3)]
    rows[2] = {**rows[2], "history": ["sku-001"], column: value}
    split = {"columns": columns, "data": [list(one.values()) for one in rows]}
    cell = f"row 2, column {column!r}" + "".join(f", item {one}" for one in inside)
    for frame, place in (("dataframe_records", [2]), ("dataframe_split", ["data", 2])):
        answer = client.post("/invocations", json={frame: rows if frame == "dataframe_records" else split})
        (problem,) = answer.json()["detail"]
        assert problem["loc"] == ["body", frame, *place, column, *inside]
        assert problem["msg"].replace(": ", " ") == f"{cell} {message}"


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"where": {"genre": "a"}}, ["where"]),
        ({"where": {"genres": 5}}, ["where", "genres"]),
        ({"rerank": True}, ["rerank"]),
        ({"interests": "smoothed"}, ["interests"]),
        ({"k": "5"}, ["k"]),
        ({"kk": 5}, ["kk"]),
    ],
)
def test_a_parameter_that_cannot_be_used_is_told_where_it_stands(client, params, place):
    answer = client.post("/invocations", json={"dataframe_records": [{"user_id": "u001"}], "params": params})
    assert [one["loc"] for one in answer.json()["detail"]] == [["body", "params", *place]]


def test_a_column_that_the_model_does_not_read_is_told_by_its_name(client):
    row = {"history": ["sku-001"], "history_times": [5]}
    (problem,) = client.post("/invocations", json={"dataframe_records": [row]}).json()["detail"]
    assert "does not read times" in problem["msg"] and problem["loc"][-1] == "history_times"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"17",
        b'"u001"',
        b"\xff\xfe",
        b"[" * 500_000,
        b'{"user_ids":' * 50_000,
        b'{"user_ids": ["\\ud800"]}',
        b'{"user_ids": ["a\x00b"]}',
        b'{"user_ids": ["' + b"\xc3\x28" + b'"]}',
        b'{"user_ids": [' + b"9" * 100_000 + b"]}",
        b'{"user_ids": ["a"], "k": 1e999}',
    ],
)
@pytest.mark.parametrize("path", ["/candidates", "/invocations"])
def test_what_is_no_json_is_refused(client, raw, path):
    answer = client.post(path, content=raw, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "image/png", "a;b=\x7f"]
)
def test_another_content_type_is_refused(client, content_type):
    answer = client.post("/candidates", content=b'{"user_ids": ["u001"]}', headers={"content-type": content_type})
    assert answer.status_code == 422


def test_the_body_is_bounded_whether_or_not_it_says_how_long_it_is(client):
    headers = {"content-type": "application/json"}
    large = b'{"user_ids": ["u001"]' + b" " * (2 << 20) + b"}"
    assert client.post("/candidates", content=large, headers=headers).status_code == 413
    chunks = (large[start : start + 65_536] for start in range(0, len(large), 65_536))
    answer = client.post("/candidates", content=chunks, headers=headers)
    assert answer.status_code == 413
    assert "2097152" in answer.json()["detail"]
    fits = b'{"user_ids": ["u001"]' + b" " * 1_000_000 + b"}"
    assert client.post("/candidates", content=iter([fits]), headers=headers).status_code == 200


def test_a_body_that_never_ends_is_given_up(generator, monkeypatch):
    monkeypatch.setattr("serving.http.bounded_body.MAX_SECONDS", 0.05)
    app, sent = create_app(generator), []

    async def receive():
        if sent or receive.calls:
            await asyncio.sleep(3600)
        receive.calls += 1
        return {"type": "http.request", "body": b'{"user_ids": [', "more_body": True}

    async def send(message):
        sent.append(message)

    receive.calls = 0
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/candidates",
        "raw_path": b"/candidates", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"content-type", b"application/json")], "client": ("x", 1), "server": ("y", 2),
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 10))
    assert sent[0]["status"] == 408


def test_answers_have_an_end(client):
    answer = client.post("/candidates", json={"user_ids": ["u"] * 1000, "k": 101})
    assert answer.status_code == 422
    assert "k=101" in answer.text
    assert client.post("/candidates", json={"user_ids": ["u"] * 1000, "k": 60}).status_code == 200


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["u001", "sku-001"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
IDS = st.lists(st.none() | st.integers() | st.text(max_size=4) | st.sampled_from(["u001", "sku-001", "17"]), max_size=4)
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "user_ids": IDS | JSON,
        "item_ids": IDS | JSON,
        "histories": st.lists(st.none() | IDS, max_size=4) | JSON,
        "k": st.integers(-1, 1100) | JSON,
        "exclude_seen": st.booleans() | JSON,
        "rerank": st.booleans() | JSON,
        "rerank_depth": st.integers(-1, 1100) | JSON,
        "attributes": st.lists(st.fixed_dictionaries({}, optional={"age": JSON, "city": JSON}), max_size=4) | JSON,
        "dataframe_records": st.lists(
            st.fixed_dictionaries({}, optional={"user_id": JSON, "history": IDS | JSON}), max_size=3
        ),
        "dataframe_split": st.fixed_dictionaries(
            {"columns": st.just(["user_id", "history"]) | JSON, "data": st.lists(st.tuples(JSON, IDS | JSON)) | JSON}
        ),
        "params": st.fixed_dictionaries({}, optional={"k": JSON, "exclude_seen": JSON}) | JSON,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=LIKELY | JSON, path=st.sampled_from(["/candidates", "/similar", "/invocations"]), whole=st.booleans())
def test_no_json_makes_it_stumble(client, numbers, body, path, whole):
    raw = json.dumps(body, ensure_ascii=whole).encode(errors="surrogatepass")
    for one in (client, numbers):
        answer = one.post(path, content=raw, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 422), answer.text
        answer.json()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.binary(max_size=200), content_type=st.sampled_from(["application/json", "text/plain", "application/x+json"])
)
def test_no_bytes_make_it_stumble(client, raw, content_type):
    answer = client.post("/candidates", content=raw, headers={"content-type": content_type})
    assert answer.status_code == 422


def test_an_operator_is_told(client, generator):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    version = client.get("/version").json()
    assert version["name"] == "tiny"
    assert version["build_id"] == generator.bundle.manifest.build_id
    assert version["n_items"] == 60
    assert version["index"]["recall"] == 1.0


def test_a_model_that_does_not_answer_is_not_ready(generator, monkeypatch):
    def fail(*arguments, **settings):
        raise RuntimeError("no")

    monkeypatch.setattr(type(generator), "recommend", fail)
    unwell = TestClient(create_app(generator))
    assert unwell.get("/readyz").status_code == 503
    assert unwell.get("/healthz").status_code == 200


def test_other_paths_and_methods(client):
    assert client.get("/candidates").status_code == 405
    assert client.post("/nothing", json={}).status_code == 404
