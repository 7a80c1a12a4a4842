"""The page of results, made of the JSON of benchmarks."""

import json
from pathlib import Path

from benchmarks.results_page import rendered

RUN = {"benchmark": "parity", "git": "0" * 40, "machine": "one", "threads": 1, "date": "2026-01-01T00:00:00"}


def page(folder: Path, *figures: tuple[str, str, float]) -> list[str]:
    """The lines of the page's tables, for (case, metric, figure)."""
    row = {"sd": None, "n": 1, "seconds": None, "settings": {}, "source": "measured"}
    rows = [{"case": case, "metric": metric, "mean": mean, **row} for case, metric, mean in figures]
    (folder / "parity.json").write_text(json.dumps({**RUN, "rows": rows}))
    return [line for line in rendered(folder).splitlines() if line.startswith("|") and not line.startswith("|--")]


def test_cases_with_like_metrics_share_a_table(tmp_path: Path) -> None:
    lines = page(tmp_path, ("a", "f1", 1), ("b", "recall", 2), ("c", "f1", 3), ("c", "auc", 4), ("a|b", "recall", 5))
    assert lines == [
        *("| case | f1 | auc |", "| a | 1 |  |", "| c | 3 | 4 |"),
        *("| case | recall |", "| b | 2 |", "| a\\|b | 5 |"),
    ]


def test_many_metrics_of_few_cases_go_down(tmp_path: Path) -> None:
    lines = page(tmp_path, *(("one", f"m{n}", n) for n in range(12)))
    assert lines == ["|  | one |", *(f"| m{n} | {n} |" for n in range(12))]


def test_many_metrics_of_many_cases_are_cut_and_none_is_lost(tmp_path: Path) -> None:
    lines = page(tmp_path, *((f"case{n}", f"m{m}", 100 * n + m) for n in range(11) for m in range(20)))
    heads = [line for line in lines if line.startswith("| case |")]
    assert [line.count(" m") for line in heads] == [9, 9, 2]
    figures = [cell.strip() for line in lines if line not in heads for cell in line.split("|")[2:-1]]
    assert sorted(int(one.replace(",", "")) for one in figures) == sorted(
        100 * n + m for n in range(11) for m in range(20)
    )
