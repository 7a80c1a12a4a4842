"""`recsys interests`: settings are chosen on validation, and the bundle answers as it was measured."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from recsys.interests import ClustersConfig, InterestsConfig
from serving.bundles.bundle import Bundle
from serving.bundles.manifest import Manifest
from serving.candidates import CandidateGenerator
from training.cli import main
from training.config import load_config
from training.data import prepare
from training.evaluation import Evaluation
from training.interests import CHOSEN_BY, InterestsMeasure, InterestsSpace, search

DATA = ["--data", "generated", "--set", "data.settings.interactions=2000"]
SMALL = InterestsSpace(clusters=(2, 8), mixing=(0.0, 0.5), neighbours=(3,), components=(1, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("run") / "run"
    settings = ["--set", "optimiser.max_epochs=2", "--set", "model.dim=16", "--run-dir", str(where), "--no-mlflow"]
    assert main(["train", "two-tower", *DATA, *settings]) == 0
    return where / "bundle"


@pytest.fixture(scope="module")
def measure(folder) -> InterestsMeasure:
    prepared = prepare(load_config(settings=["data.settings.interactions=2000"]))
    return InterestsMeasure.of(Bundle.load(folder).model, Evaluation(prepared, "validation"))


def test_each_setting_is_tried_with_the_best_of_those_before(measure):
    trials = list(search(measure, "smoothed", SMALL))
    assert [(one.setting, getattr(one.config, one.setting)) for one in trials[2:]] == [
        ("mixing", 0.0),  # 0.5 has been tried with the clusters
        ("neighbours", 3),
        ("components", 1),
        ("components", 4),
    ]
    assert [one.config.clusters.clusters for one in trials[:2]] == [2, 8]
    best = max(trials[:2], key=lambda one: one.figures[CHOSEN_BY]).config.clusters.clusters
    assert {one.config.clusters.clusters for one in trials[2:4]} == {best}
    assert {one.setting for one in search(measure, "mixture", SMALL)} == {"clusters", "components"}


def test_figures_are_those_of_the_lists(measure):
    config = InterestsConfig(clusters=ClustersConfig(clusters=4))
    lists = measure.lists("mixture", config)
    figures, found = measure.figures(lists), measure.recall_of_users(lists, 50)
    assert figures["recall@50"] == pytest.approx(found.mean()) and 0 < figures["distance"] < 2
    seen = measure.evaluation.seen.rows(measure.evaluation.users)
    for user, row in enumerate(lists):
        assert not set(row.tolist()) & set(seen.row(user).tolist()) and len(set(row.tolist())) == 50


def test_a_bundle_gets_interests(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts what it keeps
    out = tmp_path / "with"
    given = ["--clusters", "8", "--mixing", "0.3", "--neighbours", "4", "--retriever", "smoothed", "--json"]
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    given += ["--register", "varied", "--tracking-uri", store]
    assert main(["interests", "--model", str(folder), "--out", str(out), *DATA, *given]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    chosen = told["interests"]
    assert (chosen["clusters"]["clusters"], chosen["mixing"], chosen["neighbours"]) == (8, 0.3, 4)
    assert told["trials"] == 6 and set(told["figures"]) == {"unimodal", "mixture", "smoothed"}
    manifest = Manifest.read(out)
    assert manifest.retriever == "smoothed" and Manifest.read(folder).retriever == "unimodal"
    # the official figures are those of what the bundle answers
    for name in ("recall@50", "hr@10", "ndcg@10", "coverage@50"):
        assert manifest.metrics[name] == pytest.approx(told["figures"]["smoothed"][name])
    loaded = CandidateGenerator.load("models:/varied@challenger", tracking_uri=store)
    assert told["version"] == "1" and loaded.bundle.manifest.build_id == manifest.build_id
    answer = CandidateGenerator.load(out).recommend(user_ids=["u00017"], k=5)
    assert np.unique(answer.interest_of[0]).max() < len(answer.interests[0]) <= chosen["components"]


def test_a_run_that_is_interrupted_leaves_the_bundle_as_it_was(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "bundle")
    monkeypatch.setattr(
        "training.bundle_evaluation.evaluate_bundle", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    given = ["--clusters", "8", "--mixing", "0.3", "--neighbours", "4", "--components", "3"]
    with contextlib.suppress(KeyboardInterrupt):
        main(["interests", "--model", str(tmp_path / "bundle"), *DATA, *given])
    assert Manifest.read(tmp_path / "bundle") == Manifest.read(folder)
    assert [one.name for one in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_refused_before_anything_is_tried(folder, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["interests", "--model", str(folder), "--out", str(tmp_path), *DATA]) == 2
    told = capsys.readouterr().err
    assert "is no bundle; it is not written over" in told and "recall@50" not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the data to measure on"),
        (
            ["--data", "generated", "--set", "data.settings.interactions=1000"],
            "the data is not what the bundle's model",
        ),
        ([*DATA, "--set", "split.settings.seed=7"], "the split is not what the bundle's model was trained with"),
        ([*DATA, "--mixing", "2"], "interests.mixing is from 0 to 1, got 2.0"),
        ([*DATA, "--register", "a/b"], "a registered model's name has no '/'"),
        ([*DATA, "--clusters", "0"], "clusters of the item clusters is at least 1, got 0"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(folder, tmp_path, capsys, arguments, message):
    assert main(["interests", "--model", str(folder), "--out", str(tmp_path / "with"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "with").exists()
