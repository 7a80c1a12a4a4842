"""What `recsys models` tells: aliases, figures, and who promoted a version, as the registry has them now."""

import json
import subprocess
import sys
from pathlib import Path

from training.cli import main
from training.promotion.aliases import Candidates, move, rollback
from training.promotion.gates import Gate
from training.promotion.overview import models, versions_of

ROOT = Path(__file__).parents[3]


def test_versions_say_who_promoted_them_when_and_why(registry, capsys) -> None:
    passed = (Gate("cut-off", True, "", {"since": 7}), Gate("golden", None, ""))
    move("shop", Candidates("1", None), "the first", "ada", registry.uri)
    move("shop", Candidates("3", "1"), "two weeks newer", "bo", registry.uri, passed)
    rollback("shop", registry.uri, "lists are empty", "cy")
    registry.client.set_registered_model_alias("shop", "challenger", "4")
    found = {one.version: one for one in versions_of("shop", registry.uri)}
    assert list(found) == ["4", "3", "2", "1"]
    assert [one.aliases for one in found.values()] == [("challenger",), ("previous",), (), ("champion",)]
    assert found["2"].promotion == {} and found["2"].to_json()["promotion"] is None
    assert found["3"].promotion["promoted_gates"] == {"passed": ["cut-off"], "cut-off": {"since": 7}}
    assert found["3"].rolled_back["rolled_back_why"] == "lists are empty"
    assert main(["models", "shop", "--tracking-uri", registry.uri]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["version", "aliases", "created", "(UTC)", "kind", "split"]
    third = lines.index(next(one for one in lines if one.startswith("3 ")))
    assert lines[third + 1].startswith("    made champion by bo, 20")
    assert lines[third + 1].endswith(", having passed 1 gate: two weeks newer")
    assert lines[third + 2].startswith("    rolled back by cy, 20") and lines[third + 2].endswith(": lists are empty")
    assert lines[-1].startswith("    made champion by cy, 20")
    assert lines[-1].endswith(" without gates: rollback of version 3: lists are empty")
    assert main(["models", "shop", "--json", "--tracking-uri", registry.uri]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"model": "shop", "versions": [one.to_json() for one in found.values()]}


def test_kind_split_and_figures_are_the_runs_where_no_file_is_here(registry, capsys) -> None:
    run = registry.client.create_run(registry.client.create_experiment("far"))
    for name, value in {"test/ndcg_at_10": 0.25, "test/hr_at_10": 0.5, "baseline/popularity/hr_at_10": 0.9}.items():
        registry.client.log_metric(run.info.run_id, name, value)
    registry.client.set_tag(run.info.run_id, "split", "time")
    made = registry.client.create_model_version("shop", source="s3://elsewhere/m", run_id=run.info.run_id)
    registry.client.set_model_version_tag("shop", made.version, "kind", "sequential")
    newest, *older = versions_of("shop", registry.uri)
    assert (newest.kind, newest.split, newest.figures) == ("sequential", "time", {"ndcg@10": 0.25, "hr@10": 0.5})
    assert all((one.kind, one.split, one.figures) == (None, None, {}) for one in older)
    assert [one.to_json() for one in models(registry.uri)] == [
        {"name": "shop", "kind": "sequential", "versions": 5, "newest": "5", "aliases": {}}
    ]
    assert main(["models", "--tracking-uri", registry.uri]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["shop", "sequential", "5", "-"]


def test_a_bundle_on_this_machine_tells_for_itself(registry, monkeypatch, tmp_path) -> None:
    """As registered by versions of this package that wrote no tag, and with a run that has been deleted."""
    file = tmp_path / "logged" / "artifacts" / "bundle" / "manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"kind": "matcher", "split": {"name": "given"}, "metrics": {"f1": 0.9, "unseen": 1.0}}))
    experiment = registry.client.create_experiment("here")
    logged = registry.client.create_logged_model(experiment)
    monkeypatch.setattr(type(logged), "artifact_location", str(tmp_path / "logged"))
    registry.client.create_model_version("shop", source=f"models:/{logged.model_id}")
    newest = versions_of("shop", registry.uri)[0]
    assert (newest.kind, newest.split, newest.figures) == ("matcher", "given", {"f1": 0.9})
    file.write_text("{")
    assert versions_of("shop", registry.uri)[0].kind is None


def test_without_models_or_registry_it_says_what_to_do(registry, capsys) -> None:
    assert main(["models", "shops", "--tracking-uri", registry.uri]) == 2
    assert capsys.readouterr().err == (
        "recsys models: error: no model is registered under the name 'shops'; there are shop\n"
    )
    assert main(["models", "models:/shop", "--tracking-uri", registry.uri]) == 2
    assert "a registered model's name has no '/'" in capsys.readouterr().err
    registry.client.create_registered_model("it's new")
    assert main(["models", "it's new", "--tracking-uri", registry.uri]) == 0
    assert "has no version yet" in capsys.readouterr().out
    for name in ("shop", "it's new"):
        registry.client.delete_registered_model(name)
    assert main(["models", "--tracking-uri", registry.uri]) == 0
    assert "no model is registered yet" in capsys.readouterr().out
    assert main(["models", "--json", "--tracking-uri", registry.uri]) == 0
    assert json.loads(capsys.readouterr().out) == {"models": []}
    assert main(["models", "shop", "--tracking-uri", registry.uri]) == 2
    assert "there is none yet" in capsys.readouterr().err
    (registry.folder / "mlflow.db").unlink()
    assert main(["models"]) == 2
    told = capsys.readouterr().err
    assert "mlflow.db does not exist" in told and "--register NAME" in told and told.count("\n") == 1
    assert not (registry.folder / "mlflow.db").exists()


def test_no_model_library_is_loaded_for_it(registry) -> None:
    heavy = {"torch", "torchrec", "faiss", "pytorch_lightning", "transformers"}
    code = (
        f"import sys; from training.cli import main; main(['models', 'shop', '--tracking-uri', {registry.uri!r}]); "
        f"print(*sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "4 " in done.stdout and done.stderr.splitlines()[-1] == ""
