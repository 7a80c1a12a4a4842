"""Another version takes over while the service answers, or does not, and then nothing changes."""

from __future__ import annotations

import re
import shutil
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from features.errors import InputError
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.fitness import fitness
from serving.http.app import create_app
from serving.http.config import ServiceConfig
from serving.naming import Resolved, Unfetched
from serving.reload import Live, Reloader
from serving.summons import Summons

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*")

USERS = [f"u{n:03d}" for n in range(39)]


@pytest.fixture(scope="module")
def versions(tiny, strings, tmp_path_factory) -> list[Resolved]:
    """Four versions of a model, of different weights."""
    root = tmp_path_factory.mktemp("versions")
    folders = [write_bundle(root / str(n), tiny.model_for(strings, seed=n), strings, name="tiny") for n in range(1, 5)]
    return [Resolved(folder, "tiny", str(n), f"m-{n}") for n, folder in enumerate(folders, 1)]


class Registry:
    """Says which version is to be served; an error in its place is raised."""

    def __init__(self, version: Resolved | Exception):
        self.version = version

    def __call__(self, held: str | None = None) -> Resolved:
        if isinstance(self.version, Exception):
            raise self.version
        return self.version


def reloader_of(first: Resolved, registry: Registry, seconds: float = 0, load=CandidateGenerator.of, check=None):
    check = check or partial(fitness, least_recall=0.9)
    return Reloader(Live(CandidateGenerator.of(first)), registry, load, check, seconds)


def lists(client: TestClient) -> dict:
    return client.post("/candidates", json={"user_ids": USERS, "k": 5}).json()


def test_the_version_that_the_registry_names_takes_over(versions):
    registry = Registry(versions[0])
    reloader = reloader_of(versions[0], registry)
    client = TestClient(create_app(reloader.live.generator, reloader=reloader))
    assert reloader.look().outcome == "unchanged"
    assert lists(client)["model"]["version"] == "1"
    registry.version = versions[1]
    assert lists(client)["model"]["version"] == "1"  # until somebody looks
    assert (reloader.look().outcome, reloader.look().outcome) == ("swapped", "unchanged")
    told = lists(client)
    assert told["model"]["version"] == client.get("/version").json()["version"] == "2"
    assert told["candidates"] == CandidateGenerator.of(versions[1]).recommend(USERS, k=5).to_json()
    text = client.get("/metrics").text
    assert 'recsys_swaps_total{outcome="swapped"} 1.0' in text
    assert text.count("recsys_model_workers{") == 2
    assert [line[-3:] for line in text.splitlines() if line.startswith("recsys_model_workers{")] == ["0.0", "1.0"]


def test_a_damaged_version_changes_nothing_and_is_not_tried_again_and_again(versions, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(versions[1].folder, damaged)
    weights = damaged / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    loads: list[Path] = []

    def load(found: Resolved) -> CandidateGenerator:
        loads.append(found.folder)
        return CandidateGenerator.of(found)

    registry = Registry(Resolved(damaged, "tiny", "2", "m-2"))
    reloader = reloader_of(versions[0], registry, load=load)
    client = TestClient(create_app(reloader.live.generator, reloader=reloader))
    look = reloader.look(again=False)
    assert look.outcome == "failed" and "weights.safetensors" in look.why
    assert reloader.look(again=False).outcome == "unchanged" and len(loads) == 1
    assert reloader.look().outcome == "failed" and len(loads) == 2  # who asks for it, gets it tried
    assert lists(client)["model"]["version"] == "1"
    assert 'recsys_swaps_total{outcome="failed"} 2.0' in client.get("/metrics").text
    bad, registry.version = registry.version, versions[0]  # the alias comes back, and leaves again: another try
    assert reloader.look(again=False).outcome == "unchanged"
    registry.version = bad
    assert reloader.look(again=False).outcome == "failed" and len(loads) == 3
    registry.version = versions[2]  # the next one is another matter
    assert reloader.look(again=False).outcome == "swapped"
    assert lists(client)["model"]["version"] == "3"


def test_what_failed_for_a_passing_reason_is_tried_again_ever_more_seldom(versions, monkeypatch):
    clock, loads, problem = [0.0], [], [OSError(28, "No space left on device")]
    monkeypatch.setattr("serving.setbacks.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def load(found: Resolved) -> CandidateGenerator:
        loads.append(clock[0])
        if problem:
            raise problem[0]
        return CandidateGenerator.of(found)

    registry = Registry(versions[1])
    reloader = reloader_of(versions[0], registry, load=load)
    look = reloader.look(again=False)
    assert look.outcome == "failed" and look.why.endswith("No space left on device; it is tried again in 10 seconds")
    while clock[0] < 2000:
        clock[0] += 5
        assert reloader.look(again=False).outcome == ("failed" if loads[-1] == clock[0] else "unchanged")
    assert loads == [0, 10, 30, 70, 150, 310, 630, 1230, 1830]  # twice as long, and ten minutes at most
    assert reloader.live.generator.resolved.version == "1"
    registry.version = versions[2]  # another version is another matter
    assert reloader.look(again=False).outcome == "failed" and loads[-1] == clock[0]
    clock[0] += 10
    problem.clear()
    assert reloader.look(again=False).outcome == "swapped"
    assert reloader.live.generator.resolved.version == "3"


def test_what_cannot_be_fetched_is_held_until_it_is_tried_again(versions, monkeypatch):
    clock, asked = [0.0], []
    monkeypatch.setattr("serving.setbacks.time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Far(Registry):
        def __call__(self, held: str | None = None) -> Resolved:
            asked.append(held)
            return super().__call__(held)

    registry = Far(Unfetched("the network is away", versions[1], lasting=False))
    reloader = reloader_of(versions[0], registry)
    assert [reloader.look(again=False).outcome for _ in range(3)] == ["failed", "unchanged", "unchanged"]
    assert asked == [None, "m-2", "m-2"]
    clock[0] += 10
    assert reloader.look(again=False).outcome == "failed" and asked[-1] is None
    assert reloader.look().outcome == "failed" and asked[-1] is None  # who asks for it, gets it tried
    registry.version = versions[2]
    assert reloader.look(again=False).outcome == "swapped" and asked[-1] == "m-2"
    # a copy that has gone is no reason to do anything while its version answers
    registry.version = Unfetched("the folder is gone", versions[2], lasting=True)
    assert reloader.look().outcome == "unchanged"


def test_what_is_no_bundle_is_a_version_that_failed_and_not_a_registry_that_is_silent(versions, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("serving.setbacks.time", SimpleNamespace(monotonic=lambda: clock[0]))
    registry = Registry(Unfetched("version 2 holds 0 bundles, not one", versions[1], lasting=True))
    reloader = reloader_of(versions[0], registry)
    look = reloader.look(again=False)
    assert (look.outcome, look.version, look.why) == ("failed", "2", "version 2 holds 0 bundles, not one")
    clock[0] += 1e9
    assert reloader.look(again=False).outcome == "unchanged"


def test_a_call_is_heard_by_the_others_who_look_at_once(versions, tmp_path, until):
    registry = Registry(versions[0])
    live, check = Live(CandidateGenerator.of(versions[0])), partial(fitness, least_recall=0.9)
    never = Reloader(live, registry, CandidateGenerator.of, check, 0, summons=Summons(tmp_path))
    with never:
        registry.version = versions[1]
        other = Reloader(Live(live.generator), registry, CandidateGenerator.of, check, 0, summons=Summons(tmp_path))
        assert other.look_everywhere().outcome == "swapped"
        until(lambda: live.generator.resolved.version == "2")


def test_a_version_that_a_check_finds_unfit_does_not_take_over(versions, integer_folder):
    registry = Registry(Resolved(integer_folder, "tiny", "2", "m-2"))
    reloader = reloader_of(versions[0], registry)
    look = reloader.look()
    assert look.outcome == "refused" and "the ids 'user_id' are integers, and were strings" in look.why
    assert reloader.look(again=False).outcome == "unchanged"
    assert reloader.live.generator.resolved.version == "1"


@pytest.mark.parametrize("error", [InputError("the model registry does not answer")])
def test_a_registry_that_does_not_answer_changes_nothing(versions, error):
    registry = Registry(error)
    reloader = reloader_of(versions[0], registry)
    client = TestClient(create_app(reloader.live.generator, reloader=reloader))
    assert reloader.look().outcome == "unasked"
    assert lists(client)["model"]["version"] == "1"
    assert "recsys_registry_failures_total 1.0" in client.get("/metrics").text
    registry.version = versions[1]
    assert reloader.look().outcome == "swapped"


def test_somebody_who_may_can_ask_for_a_look(versions):
    registry, token = Registry(versions[1]), "a-token-of-this-test"
    reloader = reloader_of(versions[0], registry)
    client = TestClient(create_app(reloader.live.generator, ServiceConfig(token=token), reloader=reloader))
    assert client.post("/admin/reload").status_code == 401
    client.headers["authorization"] = f"Bearer {token}"
    answer = client.post("/admin/reload").json()  # there is nothing to say, so nothing need be said
    assert (answer["outcome"], answer["version"], answer["model"]["version"]) == ("swapped", "2", "2")
    assert client.post("/admin/reload", json={}).json()["outcome"] == "unchanged"
    assert client.post("/admin/reload", json={"version": "3"}).status_code == 422  # which would not be heeded


def wanted(client: TestClient) -> dict[str, str]:
    """How many processes want, and how many answer with, each version: of those that somebody wants or serves."""
    found = {}
    for kind in ("wanted", "model"):
        pattern = rf'^recsys_{kind}_workers{{.*name="tiny",version="(\d)"}} 1.0$'
        found[kind] = " ".join(re.findall(pattern, client.get("/metrics").text, re.MULTILINE))
    return found


def test_figures_tell_which_version_is_wanted_beside_the_one_that_answers(versions):
    registry, fits = Registry(versions[0]), [True]
    reloader = reloader_of(versions[0], registry, check=lambda old, new: [] if fits[0] else ["it is not fit"])
    client = TestClient(create_app(reloader.live.generator, reloader=reloader))
    assert wanted(client) == {"wanted": "1", "model": "1"}
    registry.version, fits[0] = versions[1], False
    assert reloader.look(again=False).outcome == "refused"
    assert wanted(client) == {"wanted": "2", "model": "1"}
    registry.version = InputError("the registry is away")
    assert reloader.look(again=False).outcome == "unasked"
    assert wanted(client) == {"wanted": "2", "model": "1"}
    registry.version = versions[0]  # the alias has come back
    assert reloader.look(again=False).outcome == "unchanged"
    assert wanted(client) == {"wanted": "1", "model": "1"}
    registry.version, fits[0] = versions[2], True
    assert reloader.look(again=False).outcome == "swapped"
    assert wanted(client) == {"wanted": "3", "model": "3"}
    assert 'recsys_swaps_total{outcome="swapped"} 1.0' in client.get("/metrics").text
    assert 'outcome="unchanged"' not in client.get("/metrics").text


def test_no_answer_mixes_two_versions_while_they_follow_each_other(versions, until):
    expected = {one.version: CandidateGenerator.of(one).recommend(USERS, k=5).to_json() for one in versions}
    assert len({str(one) for one in expected.values()}) == len(versions)
    registry = Registry(versions[0])
    reloader = reloader_of(versions[0], registry, seconds=0.01)
    wrong: list[str] = []
    seen: set[str] = set()
    stop = threading.Event()
    with TestClient(create_app(reloader.live.generator, reloader=reloader)) as client:

        def ask(shift: int) -> None:
            n = shift
            while not stop.is_set():
                n = (n + 1) % 30
                part = USERS[n : n + 1 + n % 9]
                answer = client.post("/candidates", json={"user_ids": part, "k": 5})
                if answer.status_code != 200:
                    wrong.append(answer.text)
                    continue
                told = answer.json()
                version = told["model"]["version"]
                seen.add(version)
                if not all(map(alike, told["candidates"], expected[version][n : n + len(part)])):
                    wrong.append(f"version {version}, users from {n}")

        threads = [threading.Thread(target=ask, args=(shift,)) for shift in range(4)]
        for one in threads:
            one.start()
        for n in range(12):
            registry.version = versions[(n + 1) % len(versions)]
            until(lambda: reloader.live.generator.resolved.version == registry.version.version)
        stop.set()
        for one in threads:
            one.join(20)
    assert not wrong and len(seen) == len(versions)


def test_items_that_came_while_a_version_was_loaded_are_there_with_it(told, word_encoder, tmp_path):
    kept = tmp_path / "new.jsonl"
    first, second = (Resolved(folder, "told", str(n), f"m-{n}") for n, folder in enumerate(told.folders.values(), 1))
    live = Live(CandidateGenerator.of(first, new_items=kept))

    def load(found: Resolved) -> CandidateGenerator:
        loaded = CandidateGenerator.of(found, new_items=kept)
        live.generator.new_items.add([("soap", told.new[0][1])])  # somebody brings it just then
        return loaded

    reloader = Reloader(live, Registry(second), load, lambda old, new: [])
    assert reloader.look().outcome == "swapped"
    assert live.generator.resolved.version == "2"
    assert "soap" in live.generator.recommend(["u003"], k=100, exclude_seen=False).item_ids[0]


def alike(told: dict, expected: dict) -> bool:
    """The same list, save swaps of items whose scores are the same but for rounding."""
    if told["source"] != expected["source"] or len(told["item_ids"]) != len(expected["item_ids"]):
        return False
    if max(abs(a - b) for a, b in zip(told["scores"], expected["scores"], strict=True)) > 1e-5:
        return False
    scores = dict(zip(expected["item_ids"], expected["scores"], strict=True))
    last = expected["scores"][-1]
    pairs = zip(told["item_ids"], told["scores"], strict=True)
    return all(abs(scores.get(item, last) - score) < 1e-5 for item, score in pairs)
