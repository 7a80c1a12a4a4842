"""The notebooks run, and what is committed of them is what their scripts say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.stem)
def test_a_notebook_runs_on_generated_data(script: Path, tmp_path: Path) -> None:
    environment = {name: one for name, one in os.environ.items() if name not in ("RECSYS_DATA", "MLFLOW_TRACKING_URI")}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "MPLBACKEND": "agg"}
    found = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.stem)
def test_a_committed_notebook_is_its_script_executed(script: Path) -> None:
    jupytext = pytest.importorskip("jupytext")
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    written = [(cell.cell_type, cell.source) for cell in jupytext.read(script).cells]
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == written
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "a cell has not been executed: make notebooks"
    assert not [one for cell in code for one in cell.outputs if one.output_type == "error"]
