"""Names of the registry to folders, and a bundle as an MLflow model that answers as the generator does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from features.errors import InputError
from recsys.index import IndexConfig
from serving.bundles.packed import requirements
from serving.bundles.sealed import BundleError
from serving.bundles.writer import write_bundle
from serving.candidates import CandidateGenerator
from serving.naming import Unfetched
from serving.pyfunc_model import log_bundle
from serving.resolve import _answer_of, resolve, resolve_aside
from serving.sqlite_registry import look_up
from training.cli import parser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def registry(tmp_path_factory, string_folder, strings, tiny):
    """A store with two versions of the model "shop", the first one champion."""
    place = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{place}/mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("e", artifact_location=(place / "artifacts").as_uri())
    other = write_bundle(place / "other", tiny.model_for(strings, seed=1), strings, IndexConfig("hnsw"))
    with mlflow.start_run(experiment_id=experiment):
        logged = [log_bundle(one, registered_model_name="shop") for one in (string_folder, other)]
    mlflow.MlflowClient().set_registered_model_alias("shop", "champion", "1")
    yield uri, logged
    mlflow.set_tracking_uri(before)


def test_alias_version_and_newest_lead_to_the_folder_of_one_version(registry, string_folder):
    uri, logged = registry
    by_alias = resolve("models:/shop@champion", uri)
    assert (by_alias.name, by_alias.version, by_alias.model_id) == ("shop", "1", logged[0].model_id)
    assert resolve("models:/shop/1", uri) == by_alias
    newest = resolve("models:/shop", uri)
    assert (newest.version, newest.model_id) == ("2", logged[1].model_id)
    assert sorted(path.name for path in by_alias.folder.iterdir()) == sorted(
        path.name for path in string_folder.iterdir()
    )


def test_what_was_loaded_stays_when_the_alias_moves(registry, generator):
    uri, _ = registry
    loaded = CandidateGenerator.load("models:/shop@champion", tracking_uri=uri)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("shop", "champion", "2")
    try:
        assert loaded.identity == {"name": "shop", "version": "1", "build_id": generator.bundle.manifest.build_id}
        assert loaded.recommend(["u001"]).item_ids == generator.recommend(["u001"]).item_ids
        assert CandidateGenerator.load("models:/shop@champion", tracking_uri=uri).identity["version"] == "2"
    finally:
        client.set_registered_model_alias("shop", "champion", "1")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("models:/absent@champion", "there is no model 'absent' in sqlite.*; there is 'shop'"),
        ("models:/absent/1", "'absent'"),
        ("models:/absent", "there is no model 'absent'"),
        ("models:/it's", 'there is no model "it\'s"'),
        (
            "models:/shop@nobody",
            "the model 'shop' has no alias 'nobody' in .*; its only alias is champion: MLflow gives it: .*'nobody'",
        ),
        (
            "models:/shop@previous",
            "the model 'shop' has no alias 'previous' in sqlite.*: the next `recsys promote shop`",
        ),
        ("models:/shop/99", "there is no version 99 of a model 'shop' in .*; there is version .*version 1$"),
        ("models:/shop/latest", "is not of the form"),
        ("models:/", "is not of the form"),
        ("models:/shop@a/b", "is not of the form"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(registry, source, words):
    with pytest.raises(InputError, match=words) as caught:
        resolve(source, registry[0])
    assert "\n" not in str(caught.value)


def test_asking_a_registry_that_is_not_there_makes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match=r"sqlite:///mlflow.db does not exist in .*or MLFLOW_TRACKING_URI") as told:
        resolve("models:/shop@champion")
    assert f" in {tmp_path};" in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_taken_as_it_is(string_folder, tmp_path):
    assert resolve(string_folder).name == "tiny"
    assert resolve(tmp_path).name == tmp_path.name
    with pytest.raises(InputError, match="there is no bundle at nowhere"):
        resolve("nowhere")
    with pytest.raises(BundleError, match=r"it has no manifest\.json"):
        CandidateGenerator.load(tmp_path)


@pytest.fixture
def slow(monkeypatch):
    """As if the registry were not a file of this machine, so that MLflow has to be asked."""
    monkeypatch.setattr("serving.resolve.look_up", lambda *arguments, **settings: None)


@pytest.mark.parametrize("source", ["models:/shop@champion", "models:/shop/2", "models:/shop"])
def test_what_is_found_without_mlflow_is_what_mlflow_finds(registry, source, monkeypatch, slow):
    asked = resolve(source, registry[0])
    monkeypatch.undo()
    assert resolve(source, registry[0]) == asked
    monkeypatch.setattr("serving.resolve._registered", None)  # would fail if it were called
    assert resolve(source, registry[0]) == asked


def test_another_schema_is_left_to_mlflow(tmp_path):
    path = tmp_path / "mlflow.db"
    for content in (b"", b"no database at all" * 100):
        path.write_bytes(content)
        assert look_up(f"sqlite:///{path}", "shop", None, None) is None
    assert look_up("http://127.0.0.1:1", "shop", "champion", None) is None
    assert look_up(f"sqlite:///{tmp_path}/absent.db", "shop", "champion", None) is None


def test_a_process_of_its_own_finds_the_same(registry, monkeypatch, slow):
    uri, _ = registry
    monkeypatch.chdir(ROOT)
    missing = resolve_aside("models:/absent", uri)
    assert resolve_aside("models:/shop@champion", uri)() == resolve("models:/shop@champion", uri)
    with pytest.raises(InputError, match="there is no model 'absent'"):
        missing()
    broken = subprocess.Popen([sys.executable, "-c", "1/0"], stdout=-1, stderr=-1, text=True)
    with pytest.raises(InputError, match="could not be asked: ZeroDivisionError"):
        _answer_of(broken)


def test_a_store_elsewhere_is_copied_once(registry, tmp_path, monkeypatch):
    uri, logged = registry
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = resolve("models:/shop/1", uri).folder
    # as if it lay elsewhere: the folder is not looked at, but fetched from its URI
    monkeypatch.setattr("serving.resolve._local", lambda location: None)
    copied = resolve("models:/shop/1", uri)
    assert copied.folder.is_relative_to(tmp_path / "recsys" / "models" / logged[0].model_id)
    assert (copied.folder / "manifest.json").read_bytes() == (here / "manifest.json").read_bytes()
    assert [path.name for path in (tmp_path / "recsys" / "models").iterdir()] == [logged[0].model_id]
    CandidateGenerator.load(copied.folder)
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", None)  # would fail if it were called
    assert resolve("models:/shop/1", uri) == copied


def test_what_cannot_be_copied_says_which_version_it_is_and_leaves_nothing(registry, tmp_path, monkeypatch):
    uri, logged = registry
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("serving.resolve._local", lambda location: None)

    def away(**asked):
        (Path(asked["dst_path"]) / "half").touch()
        raise ConnectionResetError("reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.artifacts.download_artifacts", away)
        with pytest.raises(Unfetched, match=r"^version 1 of the model 'shop' at .*cannot be fetched: reset by") as told:
            resolve("models:/shop/1", uri)
        assert told.value.named.model_id == logged[0].model_id and not told.value.lasting
        assert not list((tmp_path / "recsys" / "models").iterdir())
        patch.setattr("mlflow.artifacts.download_artifacts", None)  # would be another error if it were called
        with pytest.raises(Unfetched, match="is not fetched now"):
            resolve("models:/shop/1", uri, held=logged[0].model_id)
    assert resolve("models:/shop/1", uri, held="m-another").folder.is_dir()
    assert resolve("models:/shop/1", uri, held=logged[0].model_id).folder.is_dir()  # it is there already


def test_how_a_model_gets_a_champion_is_told_as_the_command_line_takes_it(registry):
    client = mlflow.MlflowClient()
    client.delete_registered_model_alias("shop", "champion")
    try:
        with pytest.raises(InputError) as told:
            resolve("models:/shop@champion", registry[0])
    finally:
        client.set_registered_model_alias("shop", "champion", "1")
    assert str(told.value).startswith("the model 'shop' has no alias 'champion' in sqlite:///")
    commands = [one.replace("[VERSION]", "2") for one in re.findall(r"`recsys (.*?)`", str(told.value))]
    assert len(commands) == 2
    for one in commands:
        arguments = parser("promote").parse_args(one.split())
        assert (arguments.name, arguments.model_version) == ("shop", "2")
        assert (arguments.data, arguments.no_gates, arguments.why) in (("NAME", False, ""), (None, True, "TEXT"))


def test_a_language_model_that_is_carried_comes_along(registry, told, tmp_path, monkeypatch):
    uri, _ = registry
    with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name("e").experiment_id):
        log_bundle(told.folders["two-tower"], registered_model_name="told")
    here = resolve("models:/told", uri).folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("serving.resolve._local", lambda location: None)
    for folder in (here, resolve("models:/told", uri).folder):
        found = CandidateGenerator.load(folder).bundle.text.config.encoder.model
        assert found == str((folder / "text_encoder").resolve())
        assert (folder / "text_encoder" / "1_Pooling" / "config.json").is_file()


def test_pyfunc_answers_as_the_generator_does(registry, generator):
    model = mlflow.pyfunc.load_model(registry[1][0].model_uri)
    users, histories = ["u001", "stranger", None, "u003"], [[], ["sku-004", "what"], [], ["sku-001"]]
    frame = pd.DataFrame({"user_id": users, "history": histories})
    expected = generator.recommend(users, histories, k=4).to_json()
    assert model.predict(frame, params={"k": 4}).to_dict("records") == expected
    by_id = model.predict(pd.DataFrame({"user_id": ["u001", "u002"]}))
    assert by_id["item_ids"].to_list() == generator.recommend(["u001", "u002"]).item_ids
    alone = model.predict(pd.DataFrame({"history": [["sku-004"]]}), params={"exclude_seen": False, "k": 60})
    assert alone["item_ids"].to_list() == generator.recommend(None, [["sku-004"]], 60, False).item_ids
    with pytest.raises(Exception, match="user_id, history"):
        model.unwrap_python_model().predict(None, pd.DataFrame({"nothing": [1]}))
    with pytest.raises(InputError, match="'kk'"):
        model.unwrap_python_model().predict(None, frame, {"kk": 3})
    with pytest.raises(InputError, match="this model has no ranker"):
        model.predict(frame, params={"rerank": True})


def test_the_logged_model_has_a_signature_requirements_and_nothing_pickled(registry):
    _, logged = registry
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=logged[0].model_uri))
    assert logged[0].signature.inputs.input_names() == ["user_id", "history", "history_times", "asked_at"]
    assert {one.name for one in logged[0].signature.params} == {
        "k",
        "exclude_seen",
        "rerank",
        "rerank_depth",
        "interests",
    }
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth"}
    listed = (folder / "requirements.txt").read_text()
    expected = requirements(["torch", "faiss-cpu", "faiss-gpu", "polars", "xxhash"])
    assert all(one in listed for one in expected) and "not-installed" not in requirements(["not-installed"])
    assert any(one.startswith("torch==") for one in expected)


def test_only_a_whole_bundle_is_logged(tmp_path):
    with pytest.raises(BundleError, match="no bundle"):
        log_bundle(tmp_path)


def test_serving_itself_does_not_import_mlflow():
    program = "import serving.http.app, serving.candidates, serving.resolve, sys; print('mlflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
