"""What the matching benchmark concludes from a language model is what a whole run comes to."""

import importlib
from pathlib import Path

import pytest

from recsys.matching.ditto import opinions
from serving.matching.matcher import Matcher
from serving.resolve import Resolved
from training.config import load_config
from training.matching.config import MatchTrainConfig
from training.matching.run import run
from training.runs import RunOptions


def test_a_conclusion_is_that_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    cases, runs = importlib.import_module("matching_cases"), importlib.import_module("matching_runs")
    data, settings = cases.generated(60), list(cases.QUICK)
    encoder = f"model.encoder.model={cases.tiny_encoder(tmp_path / 'tiny')}"
    config = load_config(settings=[*settings, encoder], kind=MatchTrainConfig, seed=3)
    result = run(config, RunOptions(tmp_path / "run", track=False, progress=False), data)
    matcher = Matcher.of(Resolved(result.bundle, "whole"))
    said = {
        part: opinions(matcher.model, matcher.reader, getattr(data, part))[0].tolist()
        for part in ("validation", "test")
    }
    found = runs.concluded(data, settings, 3, {"log_odds": said, "seconds_to_judge": 1.0}, trees=True)
    names = ("f1", "precision", "auc", "calibration_error", "calibration_error_before", "validation_f1", "f1_unseen")
    assert {name: found[name] for name in names} == pytest.approx({name: result.figures[name] for name in names})
    assert found["f1_overlap"] > 0.5 and len(found["same"]) == len(data.test)
