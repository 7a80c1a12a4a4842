"""Every benchmark runs in its quick form and writes the rows that its full form writes."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path for path in (ROOT / "benchmarks").glob("[!_]*.py") if "if __name__" in path.read_text(encoding="utf-8")
)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, the scripts' own modules, and as many threads afterwards as before.

    A process for each script would spend most of its time on imports.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_quick_form_writes_rows(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", [str(script), "--quick", "--out", str(out)])
    importlib.import_module(script.stem).main()
    said = capsys.readouterr().out
    content = json.loads(out.read_text())
    assert {"benchmark", "git", "machine", "threads", "date", "rows"} <= content.keys()
    assert content["benchmark"] == script.stem and content["rows"]
    for row in content["rows"]:
        assert {"case", "metric", "mean", "sd", "n", "seconds", "settings", "source"} == row.keys()
        assert row["mean"] == row["mean"], f"{row['case']} {row['metric']} is not a number"
    assert content["rows"][0]["case"] in said


def test_committed_results_are_those_of_full_runs() -> None:
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        content = json.loads(path.read_text())
        assert (ROOT / "benchmarks" / f"{content['benchmark']}.py").exists() and path.stem == content["benchmark"]
        assert not any("/" in str(value) for row in content["rows"] for value in row["settings"].values())


def test_the_page_of_results_is_what_they_say(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    command = [sys.executable, "-m", "benchmarks", "--render", "--page", str(page)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert page.read_text() == (ROOT / "docs" / "results.md").read_text(), "make it anew: python -m benchmarks --render"


def test_benchmarks_are_run_shortest_first_as_far_as_they_fit(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--minutes", "0", "--page", str(tmp_path / "results.md")]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.count("left out: ") == len(SCRIPTS)
    named = subprocess.run([*command, "--only", "nothing"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert named.returncode == 2 and "--only names 'nothing'" in named.stderr
