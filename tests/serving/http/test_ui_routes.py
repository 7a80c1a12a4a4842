"""What the page asks: who is shown, with which titles, and why; and that nothing is shown where nobody asked for it."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import InputError
from recsys.interests import ClustersConfig, InterestsConfig
from serving.bundles.interests_writer import with_interests
from serving.bundles.manifest import Manifest
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.http.content_policy import policy
from serving.http.fields import MAX_HISTORY
from serving.http.ui_requests import MAX_CANDIDATES_SHOWN, MAX_FOUND, MAX_TEXT
from serving.http.ui_routes import PAGE
from serving.portrait import MOST_NAMED
from serving.server import Served, serve
from serving.state.events import Event
from serving.state.online_state import OnlineState
from serving.state.sqlite_events import SQLiteEvents

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")

SHOWN = ServiceConfig(ui=True)


@pytest.fixture(scope="module")
def client(generator):
    return TestClient(create_app(generator, SHOWN))


@pytest.fixture(scope="module")
def mixing(string_folder, tmp_path_factory):
    """One whose bundle has interests."""
    config = InterestsConfig(components=3, neighbours=4, mixing=0.4, clusters=ClustersConfig(clusters=6))
    return CandidateGenerator.load(with_interests(string_folder, config, out=tmp_path_factory.mktemp("mixing") / "b"))


def look(client, **body):
    answer = client.post("/ui/look", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def title_of(item_id: str) -> str:
    return f"Thing number {int(item_id.removeprefix('sku-'))}"


def stored(generator, user: str) -> list[str]:
    rows = generator.bundle.known.histories(generator.user_ids.rows([user], "user_ids"))
    return generator.item_ids.ids(rows.values)


def nearest(generator, item: str, history: list[str]) -> tuple[str, float]:
    """Of a history, the latest item that is most like another one, found one by one."""

    def vector(one):
        row = generator.item_ids.rows([one], "ids")
        return generator.bundle.index.vectors_of(row)[0, : generator.bundle.model.config.dim].astype(float)

    def cosine(one):
        a, b = vector(item), vector(one)
        return float(a @ b / math.sqrt((a @ a) * (b @ b)))

    return max(((one, cosine(one)) for one in reversed(history)), key=lambda one: one[1])


def test_a_known_user_is_shown_as_candidates_and_the_bundle_say(any_generator):
    client = TestClient(create_app(any_generator, SHOWN))
    found = look(client, user_id="u003", k=12)
    expected = any_generator.recommend(["u003"], k=12)
    history = stored(any_generator, "u003")
    assert (found["user_id"], found["known"], found["source"], found["unknown"]) == ("u003", True, "user", 0)
    assert found["model"] == any_generator.identity and found["interests"] == []
    assert [one["item"]["item_id"] for one in found["candidates"]] == expected.item_ids[0]
    assert [one["score"] for one in found["candidates"]] == pytest.approx(expected.scores[0])
    assert found["length"] == len(history) > 5
    assert [one["item_id"] for one in found["history"]] == history[-MOST_NAMED:]
    for one in [*found["history"], *(one["item"] for one in found["candidates"])]:
        assert one["title"] == title_of(one["item_id"])
    for one in found["candidates"]:
        like, cosine = nearest(any_generator, one["item"]["item_id"], history)
        why = one["why"]
        assert (why["kind"], why["item"]["item_id"], why["interest"]) == ("history", like, None)
        assert why["cosine"] == pytest.approx(cosine, abs=1e-5)
        assert why["sentence"] == f"Of the history, “{title_of(like)}” is most like it (cosine {cosine:.2f})."


def test_a_history_is_what_the_list_follows_from(client, generator):
    given = ["sku-004", "nothing", "sku-011", "sku-004"]
    found = look(client, history=given, k=60)
    expected = generator.recommend([None], [given], k=60)
    assert (found["user_id"], found["known"], found["source"], found["unknown"]) == (None, False, "history", 1)
    assert [one["item_id"] for one in found["history"]] == ["sku-004", "sku-011", "sku-004"]
    assert [one["item"]["item_id"] for one in found["candidates"]] == expected.item_ids[0]
    # with an id, the history stands for what is stored
    both = look(client, user_id="u003", history=["sku-004"])
    assert [one["item_id"] for one in both["history"]] == ["sku-004"] and both["known"]
    assert {one["why"]["item"]["item_id"] for one in both["candidates"]} == {"sku-004"}


def test_what_the_history_holds_is_told_so_where_it_is_not_left_out(generator, monkeypatch):
    monkeypatch.setattr(Manifest, "removes_seen", property(lambda self: False))
    found = look(TestClient(create_app(generator, SHOWN)), history=["sku-004", "sku-011"], k=60)
    told = {one["item"]["item_id"]: one["why"]["kind"] for one in found["candidates"]}
    assert {one for one, kind in told.items() if kind == "seen"} == {"sku-004", "sku-011"}
    assert set(told.values()) == {"seen", "history"}


def test_only_the_latest_of_a_long_history_are_named(client):
    given = [f"sku-{n % 50:03d}" for n in range(400)]
    found = look(client, history=given)
    assert found["length"] == 400 and [one["item_id"] for one in found["history"]] == given[-MOST_NAMED:]


@pytest.mark.parametrize("user", ["stranger", "<img src=x onerror=alert(1)>", "u039", "017", "\x00", "../../etc"])
def test_whom_nothing_is_known_of_gets_what_is_popular(client, generator, user):
    found = look(client, user_id=user, k=5)
    assert found["source"] == "popularity" and found["known"] == (user == "u039") and found["history"] == []
    counts = dict(zip(generator.bundle.items.ids.to_list(), generator.bundle.item_counts.tolist(), strict=True))
    assert [counts[one["item"]["item_id"]] for one in found["candidates"]] == sorted(counts.values(), reverse=True)[:5]
    for one in found["candidates"]:
        times = counts[one["item"]["item_id"]]
        assert one["why"]["kind"] == "popularity"
        assert one["why"]["sentence"] == f"Popular: training saw it {times} times."


def test_integers_are_looked_at_by_their_digits(integer_generator):
    client = TestClient(create_app(integer_generator, SHOWN))
    found = look(client, user_id=str(2**53 + 1), k=60)
    assert found["known"] and found["source"] == "user"
    assert str(2**63 - 1) in [
        one["item"]["item_id"] for one in found["candidates"] + [{"item": one} for one in found["history"]]
    ]
    assert not look(client, user_id="017")["known"]
    assert client.post("/ui/search", json={"text": str(2**53)}).json()["items"][0]["item_id"] == str(2**53)


@pytest.mark.parametrize("kind", ["mixture", "smoothed"])
def test_the_interest_that_brought_an_item_is_why_it_is_there(mixing, kind):
    client = TestClient(create_app(mixing, SHOWN))
    found, expected = (
        look(client, user_id="u003", k=15, interests=kind),
        mixing.recommend(["u003"], k=15, interests=kind),
    )
    assert [one["item"]["item_id"] for one in found["candidates"]] == expected.item_ids[0]
    assert [(one["weight"], one["own"]) for one in found["interests"]] == [
        (pytest.approx(one.weight), one.own) for one in expected.interests[0]
    ]
    for one, mine in zip(found["interests"], expected.interests[0], strict=True):
        assert one["because"] == {"item_id": mine.because, "title": title_of(mine.because)}
    for one, place in zip(found["candidates"], expected.interest_of[0], strict=True):
        assert (one["why"]["kind"], one["why"]["interest"]) == ("interest", place)
        assert one["why"]["item"] == found["interests"][place]["because"]
        assert found["interests"][place]["because"]["title"] in one["why"]["sentence"]


def test_interests_are_shown_where_the_user_is_asked_for_as_a_whole(mixing):
    found = look(TestClient(create_app(mixing, SHOWN)), user_id="u003", interests="unimodal")
    expected = mixing.recommend(["u003"], k=1, interests="mixture").interests[0]
    assert [one["because"]["item_id"] for one in found["interests"]] == [one.because for one in expected]
    assert {one["why"]["kind"] for one in found["candidates"]} == {"history"}


@pytest.mark.parametrize(
    "text", ["number 1", "SKU-00", "thing NUMBER 41", "sku-012", "(", ".*", "<img", "\ud83d\ude00"]
)
def test_search_finds_titles_and_ids_the_most_popular_first(client, generator, text):
    text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    answer = client.post("/ui/search", json={"text": text, "n": 50}).json()
    counts = dict(zip(generator.bundle.items.ids.to_list(), generator.bundle.item_counts.tolist(), strict=True))
    expected = {one for one in counts if text.lower() in one or text.lower() in title_of(one).lower()}
    found = [one["item_id"] for one in answer["items"]]
    assert set(found) == expected and all(one["title"] == title_of(one["item_id"]) for one in answer["items"])
    first = [one for one in found if text.lower() in (one, title_of(one).lower())]
    assert found[: len(first)] == first
    assert answer["model"] == generator.identity
    assert client.post("/ui/search", json={"text": text, "n": 1}).json()["items"] == answer["items"][:1]


def test_examples_can_be_looked_at(any_generator):
    client = TestClient(create_app(any_generator, SHOWN))
    found = client.get("/ui/examples").json()
    assert len(found["users"]) == len(set(found["users"])) == 5 == len(found["items"])
    assert {look(client, user_id=one)["source"] for one in found["users"]} == {"user"}
    counts = any_generator.bundle.item_counts[
        any_generator.item_ids.rows([one["item_id"] for one in found["items"]], "i")
    ]
    assert counts.tolist() == np.sort(any_generator.bundle.item_counts)[::-1][:5].tolist()


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("look", {}, []),
        ("look", {"user_id": None, "history": None}, []),
        ("look", {"user_id": ""}, ["user_id"]),
        ("look", {"user_id": 17}, ["user_id"]),
        ("look", {"user_id": "u" * 1001}, ["user_id"]),
        ("look", {"history": "sku-001"}, ["history"]),
        ("look", {"history": [1]}, ["history", 0]),
        ("look", {"history": ["s"] * (MAX_HISTORY + 1)}, ["history"]),
        ("look", {"user_id": "u", "k": 0}, ["k"]),
        ("look", {"user_id": "u", "k": MAX_CANDIDATES_SHOWN + 1}, ["k"]),
        ("look", {"user_id": "u", "k": 1.5}, ["k"]),
        ("look", {"user_id": "u", "interests": "all"}, ["interests"]),
        ("look", {"user_id": "u", "interests": "mixture"}, ["interests"]),
        ("look", {"user_id": "u", "rerank": True}, ["rerank"]),
        ("search", {}, ["text"]),
        ("search", {"text": ""}, ["text"]),
        ("search", {"text": 1}, ["text"]),
        ("search", {"text": "x" * (MAX_TEXT + 1)}, ["text"]),
        ("search", {"text": "x", "n": MAX_FOUND + 1}, ["n"]),
        ("search", {"text": "x", "n": 0}, ["n"]),
        ("search", {"text": "x", "more": 1}, ["more"]),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(client, path, body, place):
    answer = client.post(f"/ui/{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", *place]


@pytest.mark.parametrize("path", ["/ui/look", "/ui/search"])
def test_bodies_are_bounded(client, path):
    headers = {"content-type": "application/json"}
    assert client.post(path, content=b"x" * (2 << 20) + b"x", headers=headers).status_code == 413
    for content in (b"", b"[", b"null", b"\xff", b'{"text": "\\ud800", "user_id": "\\ud800"}'):
        assert client.post(path, content=content, headers=headers).status_code == 422
    assert client.post(path, content=b"{}", headers={"content-type": "text/plain"}).status_code == 422


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["u003", "sku-001"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
BODY = st.fixed_dictionaries({}, optional={one: JSON for one in ("user_id", "history", "k", "interests", "text", "n")})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODY, path=st.sampled_from(["look", "search"]))
def test_no_json_makes_it_stumble(client, body, path):
    raw = json.dumps(body).encode()
    answer = client.post(f"/ui/{path}", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 422), answer.text


def test_nothing_is_shown_where_it_was_not_asked_for(generator):
    client = TestClient(create_app(generator))
    assert client.get("/ui").status_code == client.get("/ui/examples").status_code == 404
    assert client.post("/ui/look", json={"user_id": "u003"}).status_code == 404
    assert client.post("/ui/search", json={"text": "a"}).status_code == 404
    assert not any(path.startswith("/ui") for path in client.get("/openapi.json").json()["paths"])


def test_the_page_lets_nothing_but_its_own_parts_run(client):
    answer = client.get("/ui")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    page, told = answer.text, answer.headers["content-security-policy"]
    assert page == PAGE.read_text(encoding="utf-8") and told == policy(page)
    rules = dict(one.strip().split(" ", 1) for one in told.split(";"))
    for kind in ("script", "style"):
        (part,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'self'" and "unsafe" not in told
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    # nothing from elsewhere, and nothing that would read text as markup
    assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\sstyle=", page)


def test_entities_have_no_page(tmp_path):
    with pytest.raises(InputError, match=r"entities.* holds entities, of which there is no page; leave out --ui"):
        serve(Served(None, entities=tmp_path / "entities"), port=0, config=SHOWN)


def test_what_a_user_has_done_since_is_looked_at_too(generator, tmp_path):
    store = SQLiteEvents(tmp_path / "events.sqlite")
    store.append([Event("stranger", "sku-004", 5_000), Event("stranger", "sku-007", 5_001)])
    client = TestClient(create_app(generator, ServiceConfig(ui=True), online=OnlineState(store)))
    found = client.post("/ui/look", json={"user_id": "stranger", "k": 10}).json()
    assert [one["item_id"] for one in found["history"]] == ["sku-004", "sku-007"]
    asked = client.post("/candidates", json={"user_ids": ["stranger"], "k": 10}).json()["candidates"][0]
    assert [one["item"]["item_id"] for one in found["candidates"]] == asked["item_ids"]
    store.close()
