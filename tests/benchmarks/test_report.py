"""The shared form of benchmark results."""

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "report.py"


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("benchmark_report", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_become_a_table_and_json(report, tmp_path, capsys) -> None:
    made = report.Report("speed")
    made.add("shop/small", "hr@10", 0.25, sd=0.01, n=3, seconds=1.5, settings={"dim": 8})
    made.add("shop/small", "hr@10", 0.2, source="A paper, 2020")
    made.finish(tmp_path / "deep" / "speed.json")
    printed = capsys.readouterr().out
    assert "shop/small" in printed and "0.25" in printed and "A paper, 2020" in printed
    content = json.loads((tmp_path / "deep" / "speed.json").read_text())
    assert set(content) == {"benchmark", "git", "machine", "threads", "date", "seconds", "rows"}
    assert content["rows"][0] == {
        "case": "shop/small",
        "metric": "hr@10",
        "mean": 0.25,
        "sd": 0.01,
        "n": 3,
        "seconds": 1.5,
        "settings": {"dim": 8},
        "source": "measured",
    }
    assert [one.name for one in (tmp_path / "deep").iterdir()] == ["speed.json"]


def test_a_quick_run_leaves_the_committed_results_alone(report, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    quick = report.Report("speed", quick=True)
    quick.add("a", "b", 1)
    quick.finish()
    assert not list(tmp_path.iterdir())
    full = report.Report("speed")
    full.add("a", "b", 1)
    full.finish()
    assert [one.name for one in tmp_path.iterdir()] == ["speed.json"]


def test_how_long_it_took_is_noted_where_all_was_measured(report, tmp_path) -> None:
    for told, how in ((True, {}), (False, {"whole": False}), (False, {"keep": True})):
        made = report.Report("speed", **how)
        made.add("a", "b", 1)
        assert ("seconds" in made.finish(tmp_path / "speed.json")) == told


def test_rows_of_data_sets_that_are_not_measured_again_stay_if_asked(report, tmp_path) -> None:
    path = tmp_path / "speed.json"
    for cases, keep in ((["a/x", "b/x"], False), (["a/y"], True), (["c/x"], True)):
        made = report.Report("speed", keep=keep)
        for case in cases:
            made.add(case, "hr@10", 1)
        made.finish(path)
    content = json.loads(path.read_text())
    assert [row["case"] for row in content["rows"]] == ["b/x", "a/y", "c/x"]
    first, second, third = ("of" in row and row["of"].keys() == {"git", "machine", "date"} for row in content["rows"])
    assert first and second and not third
    again = report.Report("speed")
    again.add("a/x", "hr@10", 1)
    again.finish(path)
    assert [row["case"] for row in json.loads(path.read_text())["rows"]] == ["a/x"]


def test_the_options_are_the_same_everywhere(report) -> None:
    options = report.arguments("what it measures").parse_args(["--quick", "--out", "x.json", "--data-root", "data"])
    assert (options.quick, options.out, options.data_root) == (True, Path("x.json"), Path("data"))


def test_runs_have_a_mean_and_a_deviation_if_they_are_several(report) -> None:
    made = report.Report("speed")
    made.add_runs("shop/small", "hr@10", [0.1, 0.3], [2.0, 4.0], {"dim": 8})
    made.add_runs("shop/small", "ndcg@10", [0.1])
    first, second = made.rows
    assert (first["mean"], first["n"], first["seconds"], first["settings"]) == (0.2, 2, 3.0, {"dim": 8})
    assert first["sd"] == pytest.approx(0.1 * 2**0.5)
    assert (second["mean"], second["sd"], second["n"], second["seconds"]) == (0.1, None, 1, None)
