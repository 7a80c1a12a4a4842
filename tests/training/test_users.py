"""`recsys users erase`: out of the store and the log at once, and a list of the models that still remember."""

from __future__ import annotations

import json
import re
import shutil

import mlflow
import pytest

from recsys.retrievers import make_retriever
from serving.bundles.writer import write_bundle
from serving.lists.recommendations import Recommendations
from serving.pyfunc_model import log_bundle
from serving.state.events import Event
from serving.state.impressions import ImpressionLog, scan_impressions
from serving.state.sqlite_events import SQLiteEvents
from training.cli import main

USERS = ("u00001", "u00002", "nobody")


@pytest.fixture(scope="module")
def bundle(small_config, small_prepared, tmp_path_factory):
    parts = (small_prepared.dataset.schema, small_prepared.vocabularies, small_prepared.item_table)
    model = make_retriever(small_config.model, *parts).eval()
    return write_bundle(tmp_path_factory.mktemp("users") / "bundle", model, small_prepared, name="shop")


@pytest.fixture
def events(tmp_path, monkeypatch):
    monkeypatch.delenv("RECSYS_HISTORY_URL", raising=False)
    store = SQLiteEvents(tmp_path / "events.sqlite")
    store.append([Event(user, "tea", n) for user in USERS for n in range(2)])
    store.close()
    return tmp_path / "events.sqlite"


def left(events):
    store = SQLiteEvents(events)
    found = [one.user_id for one in store.everything()]
    store.close()
    return sorted(set(found))


def erase(capsys, *arguments):
    status = main(["users", "erase", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_bundles_that_carry_a_user_are_named(events, bundle, small_prepared, tmp_path, capsys):
    shutil.copytree(bundle, tmp_path / "bundles/one")
    shutil.copytree(bundle, tmp_path / "bundles/two")
    (tmp_path / "bundles/two/histories.parquet").write_bytes(b"damaged")
    asked = ("u00001", "nobody", "--events", events, "--bundles", tmp_path / "bundles")
    status, out, _ = erase(capsys, *asked, "--json")
    told = json.loads(out)
    row = int(small_prepared.users.rows(["u00001"])[0])
    one = {
        "user_id": "u00001",
        "history_items": int(small_prepared.test_histories.lengths[row]),
        "trained": bool(small_prepared.train.lengths[row]),
    }
    assert one["history_items"] > 0
    assert (status, told["erased"], told["looked_into"]) == (0, 4, 1)
    assert told["carried"] == {str(tmp_path / "bundles/one"): [one]}
    assert list(told["unread"]) == [str(tmp_path / "bundles/two")]
    assert left(events) == ["u00002"]
    status, out, _ = erase(capsys, *asked)
    first, carried, unread, last = out.splitlines()
    assert (status, first) == (0, "erased: 0 events")
    assert carried.startswith(f"{tmp_path}/bundles/one carries u00001: {one['history_items']} items of history, ")
    assert unread.startswith(f"{tmp_path}/bundles/two could not be looked into: ")
    assert "until it is trained again without them" in last


def test_registered_versions_that_carry_a_user_are_named(events, bundle, store, capsys):
    mlflow.set_tracking_uri(store)
    with mlflow.start_run(experiment_id=mlflow.create_experiment("carried")):  # not one that another test has left
        for name in ("shop", "shop", "other"):
            log_bundle(bundle, registered_model_name=name)
    for named, expected in (
        (["shop"], ["models:/shop/1", "models:/shop/2"]),
        ([], ["models:/other/1", "models:/shop/1", "models:/shop/2"]),
    ):
        status, out, _ = erase(capsys, "u00001", "--events", events, "--json", "--registry", *named)
        told = json.loads(out)
        assert (status, sorted(told["carried"]), told["unread"]) == (0, expected, {})
    status, out, _ = erase(capsys, "nobody", "--events", events, "--registry", "other")
    assert out.splitlines() == [
        "erased: 2 events",
        "none of the 1 models that were looked into carries any of them",
    ]


def test_impressions_are_erased_where_that_is_said(events, tmp_path, capsys):
    log = ImpressionLog(tmp_path / "log")
    shown = Recommendations(list(USERS), [["tea"]] * 3, [[0.5]] * 3, ["user"] * 3, [0] * 3)
    log.put("r", {"name": "shop", "version": None, "build_id": "b"}, shown)
    log.close()
    status, out, _ = erase(capsys, "u00001", "nobody", "--events", events, "--impressions", tmp_path / "log")
    assert (status, out.splitlines()[0]) == (0, "erased: 4 events, 2 impressions")
    assert "no model was looked into" in out
    assert scan_impressions(tmp_path / "log").collect()["user_id"].to_list() == ["u00002"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no store of events is named: give a file or an address, or set RECSYS_HISTORY_URL"),
        (("--events", "missing.sqlite"), "there are no events at missing.sqlite: not a file"),
        (("--events", "redis://127.0.0.1:1/0"), "redis://127.0.0.1:1/0 does not answer"),
        (("--events", "EVENTS", "--bundles", "nowhere"), "there is no bundle in nowhere"),
        (("--events", "EVENTS", "--registry", "nobody"), "the model registry .* does not exist"),
        (("--events", "EVENTS", "--impressions", "nowhere"), "there are no impressions at nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_erased(events, store, capsys, arguments, words):
    status, out, err = erase(capsys, "u00001", *(events if one == "EVENTS" else one for one in arguments))
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1 and re.search(words, err), err
    assert left(events) == sorted(USERS)


def test_the_environment_names_the_store(events, monkeypatch, capsys):
    monkeypatch.setenv("RECSYS_HISTORY_URL", str(events))
    assert erase(capsys, "u00001")[0] == 0
    assert left(events) == ["nobody", "u00002"]
