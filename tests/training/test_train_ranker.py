"""`recsys train ranker`: alone, and into a retriever's bundle."""

import json
from pathlib import Path

import pytest

from serving.bundles.manifest import Manifest
from serving.candidates import CandidateGenerator
from training.cli import main

SMALL = ["--set", "data.settings.interactions=2000", "--set", "model.embeddings.width=16"]
SHORT = ["--set", "optimiser.max_epochs=2"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retriever")
    arguments = [*SMALL, *SHORT, "--set", "optimiser.validate_every=1", "--run-dir", str(folder / "run"), "--no-mlflow"]
    assert main(["train", "two-tower", *arguments]) == 0
    return folder / "run" / "bundle"


def _train(*arguments: str) -> int:
    return main(["train", "ranker", *SMALL, *SHORT, "--no-mlflow", *arguments])


def test_a_ranker_goes_into_a_bundle_and_is_measured_there(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert _train("--into", str(bundle), "--run-dir", str(tmp_path / "run"), "--json") == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0.5 < figures["auc"] < 1
    metrics = Manifest.read(tmp_path / "run" / "bundle").metrics
    assert metrics["reranked_ndcg@10"] == figures["reranked_ndcg@10"]
    assert metrics["ndcg@10"] == figures["retrieved_ndcg@10"] == Manifest.read(bundle).metrics["ndcg@10"]
    generator = CandidateGenerator.load(figures["bundle"])
    plain, ranked = (generator.recommend(user_ids=["u00017"], k=5, rerank=rerank) for rerank in (False, True))
    assert plain.item_ids != ranked.item_ids
    assert CandidateGenerator.load(bundle).recommend(user_ids=["u00017"], k=5).item_ids == plain.item_ids


def test_seeds_are_averaged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert _train("--seeds", "2", "--run-dir", str(tmp_path / "run"), "--json") == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["n"] == 2 and figures["auc_sd"] > 0
    assert figures["auc"] == pytest.approx(sum(one["auc"] for one in figures["runs"]) / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--refit"], "--refit is for retrievers"),
        (["--from", "x"], "--from is for retrievers"),
        (["--set", "optimiser.pipeline=true"], "optimiser.pipeline needs fused tables"),
        (["--set", "labels.at_least=4"], "set labels.column, too"),
        (["--set", "labels.column=stars"], "labels.column 'stars' is none of the columns"),
        (["--set", "data.settings.seed=1", "--into"], "was made from other data"),
        (["--set", "split.settings.seed=1", "--into"], "under another split"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [*arguments, str(bundle)] if arguments[-1] == "--into" else arguments
    assert _train(*arguments, "--run-dir", str(tmp_path / "run")) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1 and message in errors[0]
    assert not (tmp_path / "run").exists()


def test_the_bundle_of_the_run_folder_itself_is_not_lost(bundle: Path, capsys: pytest.CaptureFixture) -> None:
    assert _train("--into", str(bundle), "--run-dir", str(bundle.parent)) == 2
    assert "holds the bundle that is to carry the ranker" in capsys.readouterr().err
    assert Manifest.read(bundle).kind == "retriever"
    assert _train("--resume", "--run-dir", str(bundle.parent)) == 2
    assert "trains a two-tower model, not a ranker model" in capsys.readouterr().err


def test_what_is_for_rankers_alone_is_refused_elsewhere(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "two-tower", "--into", "x"]) == 2
    assert "--into is for rankers" in capsys.readouterr().err
