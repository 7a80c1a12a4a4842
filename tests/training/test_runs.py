"""A run, whole: what is logged, what is served, and that both are what was measured."""

import dataclasses
import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from features.errors import InputError
from features.prepared import Prepared
from features.schema import Sequence
from features.splits import random_ratio
from recsys.metrics import RankedTargets
from serving.bundles.manifest import Manifest
from serving.candidates import CandidateGenerator
from serving.http.app import create_app
from training.bundle_evaluation import served_lists
from training.config import LossConfig, TrainConfig, load_config
from training.evaluation import Evaluation, ModelScores, evaluate, sum_up
from training.promotion import Promotion, rollback
from training.promotion.gated import promote_ungated
from training.release import load_model, note_on_comparing
from training.runs import RunOptions, run
from training.tracking import KNOWS_ASKING_TIME


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, small_config: TrainConfig, small_prepared: Prepared):
    """Two registered runs in a store of their own."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        uri = f"sqlite:///{folder}/mlflow.db"
        options = RunOptions(folder=folder / "one", register="shop", tracking_uri=uri)
        first = run(small_config, options, small_prepared)
        other = dataclasses.replace(small_config, seed=1)
        second = run(other, dataclasses.replace(options, folder=folder / "two", refit=True), small_prepared)
        yield uri, first, second


def test_a_run_has_parameters_metrics_hashes_pictures_and_one_model(tracked, small_prepared: Prepared) -> None:
    uri, first, _ = tracked
    mlflow.set_tracking_uri(uri)
    data = mlflow.get_run(first.run_id).data
    assert data.params["model.dim"] == "16" and data.params["split.name"] == "random"
    assert data.metrics["test/ndcg_at_10"] == pytest.approx(first.figures["ndcg@10"])
    assert data.tags["split_hash"] == small_prepared.split.sha256 and "version.torch" in data.tags
    history = mlflow.MlflowClient().get_metric_history(first.run_id, "validation/ndcg_at_10")
    assert [one.step for one in history] == [1, 2, 3, 4]
    pictures = [one.path for one in mlflow.MlflowClient().list_artifacts(first.run_id, "plots")]
    drawn = ("comparison", "item_map", "learning_curves", "popularity", "recall")
    assert sorted(pictures) == [f"plots/{name}.png" for name in drawn]
    assert len(mlflow.search_logged_models(filter_string=f"source_run_id='{first.run_id}'", output_format="list")) == 1


def test_the_official_figures_are_the_bundles(tracked, small_prepared: Prepared) -> None:
    _, first, _ = tracked
    manifest = Manifest.read(first.bundle)
    assert manifest.metrics["hr@10"] == first.figures["hr@10"] and not manifest.refitted
    assert manifest.split["sha256"] == small_prepared.split.sha256


def test_training_time_ranking_bundle_and_http_agree_for_every_user(tracked, small_prepared: Prepared) -> None:
    _, first, _ = tracked
    evaluation = Evaluation(small_prepared)
    generator = CandidateGenerator.load(first.bundle)
    scores = ModelScores(load_model(first.bundle), evaluation)
    client = TestClient(create_app(str(first.bundle)))
    parts = []
    with client:
        for users in evaluation.chunks():
            ranking, targets = evaluation.rank(users, scores.scorer(users))
            lists = served_lists(generator, evaluation, users)
            parts.append(evaluation.sums(RankedTargets.in_lists(lists, targets)))
            for place in (lists != ranking.rows.cpu()).any(1).nonzero()[:, 0].tolist():
                served, expected = lists[place].tolist(), ranking.rows[place].tolist()
                value = dict(zip(expected, ranking.scores[place].tolist(), strict=True))
                assert set(served) == set(expected)
                assert all(abs(value[a] - value[b]) < 1e-6 for a, b in zip(served, expected, strict=True))
            ids = small_prepared.users.ids_of(users).to_list()
            answer = client.post("/candidates", json={"user_ids": ids, "k": lists.shape[1]})
            assert answer.status_code == 200
            over_http = [one["item_ids"] for one in answer.json()["candidates"]]
            known = [small_prepared.items.ids_of(row[row >= 0].numpy()).to_list() for row in lists]
            assert over_http == known
    assert sum_up(parts)["ndcg@10"] == pytest.approx(evaluate(evaluation, scores.scorer)["ndcg@10"], abs=1e-4)
    assert sum_up(parts)["ndcg@10"] == pytest.approx(first.figures["ndcg@10"])


def test_a_refitted_bundle_says_so_and_knows_all_interactions(tracked, small_prepared: Prepared) -> None:
    _, _, second = tracked
    manifest = Manifest.read(second.bundle)
    assert manifest.refitted and manifest.metrics["hr@10"] == second.figures["hr@10"]
    assert manifest.n_interactions == len(small_prepared.item_rows)
    assert manifest.split["sha256"] == small_prepared.split.sha256


def test_a_refitted_bundle_is_not_measured_on_what_it_knows(tracked, small_prepared: Prepared) -> None:
    _, first, second = tracked
    assert note_on_comparing(first.bundle, small_prepared) is None
    other = Prepared.of(small_prepared.dataset, random_ratio(small_prepared.dataset, seed=9))
    assert "under split" in note_on_comparing(first.bundle, other)
    assert not first.figures["knows_asking_time"]
    with pytest.raises(InputError, match="refitted on all its data"):
        note_on_comparing(second.bundle, small_prepared)


def test_promotion_and_rollback_move_what_is_served(tracked) -> None:
    uri, first, second = tracked
    build = {one.version: Manifest.read(one.bundle).build_id for one in (first, second)}

    def served() -> str:
        return CandidateGenerator.load("models:/shop@champion", tracking_uri=uri).bundle.manifest.build_id

    def promote(name: str, version: str | None = None) -> Promotion:
        return promote_ungated(name, version, why="to move aliases", uri=uri)

    assert promote("shop", first.version).previous is None
    assert served() == build[first.version]
    assert promote("shop") == Promotion("shop", second.version, first.version)  # the newest is the challenger
    assert served() == build[second.version]
    with pytest.raises(InputError, match="champion already"):
        promote("shop", second.version)
    client = mlflow.MlflowClient(uri)
    client.set_model_version_tag("shop", first.version, KNOWS_ASKING_TIME, "true")
    back = rollback("shop", uri)
    client.delete_model_version_tag("shop", first.version, KNOWS_ASKING_TIME)
    assert back == Promotion("shop", first.version, second.version, comparable=False)
    assert "do not compare their figures" in str(back)
    assert served() == build[first.version]
    with pytest.raises(InputError, match="no version 99"):
        promote("shop", "99")
    with pytest.raises(InputError, match="no model is registered under the name 'shoe'"):
        promote("shoe")
    assert served() == build[first.version]


def test_a_registered_model_answers_as_pyfunc_what_the_generator_answers(tracked, small_prepared: Prepared) -> None:
    import pandas as pd

    uri, first, _ = tracked
    mlflow.set_tracking_uri(uri)
    model = mlflow.pyfunc.load_model(f"models:/shop/{first.version}")
    users = small_prepared.users.ids_of(np.arange(5)).to_list()
    frame = pd.DataFrame({"user_id": users, "history": [[] for _ in users]})
    answered = model.predict(frame, params={"k": 7})
    expected = CandidateGenerator.load(first.bundle).recommend(user_ids=users, k=7)
    assert [list(row) for row in answered["item_ids"]] == expected.item_ids


def test_leave_one_out_histories_hold_the_validation_item(small_config: TrainConfig, tmp_path: Path) -> None:
    config = load_config(
        settings=["split.name=leave-one-out", "data.settings.interactions=2000", "optimiser.max_epochs=1"]
    )
    result = run(config, RunOptions(folder=tmp_path / "run", track=False))
    assert Manifest.read(result.bundle).split["test_history"] == "train+validation"
    assert json.loads((tmp_path / "run" / "result.json").read_text())["figures"]["hr@10"] == result.figures["hr@10"]


def test_a_run_that_cannot_be_resumed_says_which_setting_differs(small_config, small_prepared, tmp_path: Path) -> None:
    options = RunOptions(folder=tmp_path / "run", track=False)
    run(small_config, options, small_prepared)
    other = dataclasses.replace(small_config, optimiser=dataclasses.replace(small_config.optimiser, lr=0.5))
    with pytest.raises(InputError, match=r"optimiser\.lr"):
        run(other, dataclasses.replace(options, resume=True), small_prepared)
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 3


def test_a_run_in_the_place_of_another_leaves_other_files_there_alone(small_config, small_prepared, tmp_path) -> None:
    options = RunOptions(folder=tmp_path / "run", track=False)
    run(small_config, options, small_prepared)
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="bogus"):
        run(dataclasses.replace(small_config, loss=LossConfig("bogus")), options, small_prepared)
    assert (tmp_path / "run" / "bundle" / "manifest.json").exists()  # nothing is removed for a run that cannot be made
    run(small_config, options, small_prepared)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "precious"


def test_there_must_be_a_run_to_resume_and_its_data_must_be_the_same(small_config, small_prepared, tmp_path) -> None:
    options = RunOptions(folder=tmp_path / "run", track=False, resume=True)
    with pytest.raises(InputError, match="no run"):
        run(small_config, options, small_prepared)
    run(small_config, dataclasses.replace(options, resume=False), small_prepared)
    other = Prepared.of(small_prepared.dataset, random_ratio(small_prepared.dataset, seed=9))
    with pytest.raises(InputError, match="another split hash"):
        run(small_config, options, other)


def test_lists_follow_the_declared_length_of_histories(small_config, small_prepared, tmp_path) -> None:
    schema = dataclasses.replace(small_prepared.dataset.schema, user=(Sequence("history", max_length=3),))
    short = Prepared.of(dataclasses.replace(small_prepared.dataset, schema=schema), small_prepared.split)
    bundle = run(small_config, RunOptions(folder=tmp_path / "run", track=False), short).bundle
    evaluation = Evaluation(short)
    scores = ModelScores(load_model(bundle), evaluation).scorer
    served = Manifest.read(bundle).metrics
    assert evaluate(evaluation, scores)["ndcg@10"] == pytest.approx(served["ndcg@10"], abs=1e-4)


@pytest.mark.parametrize("name", ["a/b", "a:b", "a@b", ""])
def test_a_name_that_the_registry_would_refuse_is_refused_first(small_config, small_prepared, tmp_path, name) -> None:
    with pytest.raises(InputError, match="registered model's name"):
        run(small_config, RunOptions(folder=tmp_path / "run", register=name), small_prepared)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_a_runs_is_left_alone(small_config, small_prepared, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not a run's"):
        run(small_config, RunOptions(folder=tmp_path, track=False), small_prepared)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
