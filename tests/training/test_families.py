"""What can be trained, from the models to the command line."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import yaml

from recsys.retrievers import FAMILIES
from recsys.retrievers import family_of as family_of_model
from serving.bundles.manifest import FILES_OF, KIND_OF
from training.config import as_dict
from training.families import CONFIGS, RUNS, family_of, family_of_kind, model_of, trained_by
from training.run_folder import open_folder

FACTS = {"dataset_hash": "0", "split_hash": "1"}


def test_each_family_has_a_model_a_kind_of_bundle_and_runs() -> None:
    assert set(FAMILIES) == set(KIND_OF) == set(RUNS) and set(KIND_OF.values()) == set(FILES_OF)
    for name, run in RUNS.items():
        config = run.config()
        assert family_of(config) is run is family_of_kind(KIND_OF[name])
        assert model_of(config) == name == family_of_model(config.model) and type(config.model) is FAMILIES[name]
        assert callable(run.fit)
    assert set(RUNS) < set(CONFIGS)


@pytest.mark.parametrize("model", CONFIGS)
def test_a_runs_folder_says_what_it_trains(tmp_path: Path, model: str) -> None:
    module, kind = CONFIGS[model]
    config = getattr(importlib.import_module(module), kind)()
    open_folder(tmp_path / "run", config, FACTS, resume=False)
    assert trained_by(tmp_path / "run") == model
    # a folder of an earlier version, whose state says nothing of it
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state.pop("model") == model
    (tmp_path / "run" / "state.json").write_text(json.dumps(state))
    assert trained_by(tmp_path / "run") == model
    settings = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert settings == as_dict(config)


@pytest.mark.parametrize(
    "content", [{}, {"state.json": "{}"}, {"state.json": "[1"}, {"state.json": "{}", "config.yaml": "- 1"}]
)
def test_a_folder_without_a_run_says_nothing(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    assert trained_by(tmp_path) is None


@pytest.mark.parametrize(
    ("figures", "words"), [({}, "run in"), ({"version": "3"}, "; version 3, which it registered,")]
)
def test_a_finished_run_is_not_replaced_without_a_word(tmp_path: Path, figures: dict, words: str) -> None:
    folder, config, said = tmp_path / "run", RUNS["two-tower"].config(), []
    open_folder(folder, config, FACTS, resume=False, say=said.append)
    open_folder(folder, config, FACTS, resume=False, say=said.append)  # nothing has come of it yet
    assert said == []
    (folder / "result.json").write_text(json.dumps({"figures": figures}))
    open_folder(folder, config, FACTS, resume=True, say=said.append)  # goes on with it
    assert said == [] and (folder / "result.json").exists()
    open_folder(folder, config, FACTS, resume=False, say=said.append)
    (note,) = said
    assert words in note and str(folder) in note and note.endswith("--run-dir names another folder")
    assert not (folder / "result.json").exists()
