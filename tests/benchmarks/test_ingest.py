"""The ingest benchmark runs, and its memory does not depend on luck."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "ingest.py"


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[tuple[str, str], dict]:
    out = tmp_path_factory.mktemp("ingest") / "ingest.json"
    subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--out", str(out)], check=True, capture_output=True, timeout=120
    )
    return {(row["case"], row["metric"]): row for row in json.loads(out.read_text())["rows"]}


def test_both_kinds_of_ids_are_measured(rows) -> None:
    cases = {f"generated-200000/{kind}" for kind in ("integer", "string")}
    assert set(rows) == {(case, metric) for case in cases for metric in ("interactions_per_second", "peak_over_data")}
    assert all(row["mean"] > 0 for row in rows.values())


def test_every_step_is_accounted_for(rows) -> None:
    row = rows["generated-200000/integer", "interactions_per_second"]
    assert set(row["settings"]["seconds_of_steps"]) == {"read", "split", "map", "histories", "batch"}
    assert sum(row["settings"]["seconds_of_steps"].values()) == pytest.approx(row["seconds"], rel=0.2, abs=0.01)
