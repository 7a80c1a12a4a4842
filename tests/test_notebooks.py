"""The notebooks run, and what is committed of them is what their scripts say."""

import os
import runpy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import mlflow
import pytest
import torch
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, no data but generated, and afterwards MLflow, pictures and threads as before.

    A process for each notebook would spend half of its time on imports.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("RECSYS_DATA", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of processes that a notebook begins
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    matplotlib.use("agg")
    registry, threads = mlflow.get_tracking_uri(), torch.get_num_threads()
    yield
    plt.close("all")
    mlflow.set_tracking_uri(registry)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.stem)
def test_a_notebook_runs_on_generated_data(script: Path) -> None:
    runpy.run_path(str(script))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.stem)
def test_a_committed_notebook_is_its_script_executed(script: Path) -> None:
    jupytext = pytest.importorskip("jupytext")
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    written = [(cell.cell_type, cell.source) for cell in jupytext.read(script).cells]
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == written
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "a cell has not been executed: make notebooks"
    assert not [one for cell in code for one in cell.outputs if one.output_type == "error"]
