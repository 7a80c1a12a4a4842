"""The demonstration on several processes, where the first one alone has something to tell."""

from pathlib import Path

import pytest

from training.cli import main


def test_other_processes_than_the_first_end_after_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.setattr("training.runs.run", lambda *told: asked.append(told))  # as it answers on these: None
    assert main(["demo", "--interactions", "1000", "--run-dir", str(tmp_path / "demo")]) == 0
    assert len(asked) == 1 and not list(tmp_path.iterdir())
