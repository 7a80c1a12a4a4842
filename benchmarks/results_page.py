"""The page of measured results, made of the JSON of all benchmarks: no figure on it is typed by hand."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

#: columns that a table may have before it is turned, or told line by line
_COLUMNS = 8

_HEAD = """# Results

What every script under `benchmarks/` measured when it last ran, as it ran: made from `benchmarks/results/*.json` by
`python -m benchmarks --render`. A figure is the mean of several seeds ± their standard deviation, with their number,
where there were several. Rows of a paper or of another library's own report say whose they are. What the figures mean,
which protocol they follow and where they fall short is told in [measurements](measurements.md).
"""


def rendered(folder: Path = HERE / "results") -> str:
    """The page, of all the results in a folder, by the scripts' names."""
    pictures = _pictures(folder)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = [_section(content, pictures[content["benchmark"]]) for content in found]
    return "\n".join([_HEAD, *parts])


def about(script: Path) -> str:
    """The first paragraph of a script's docstring, on one line."""
    told = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return " ".join(told.split("\n\n")[0].split())


def _pictures(folder: Path) -> dict[str, list[str]]:
    """Of each benchmark its pictures: a picture is of the benchmark with the longest name that its own begins with."""
    found: dict[str, list[str]] = {path.stem: [] for path in folder.glob("*.json")}
    for picture in sorted(folder.glob("*.png")):
        owners = [name for name in found if picture.stem == name or picture.stem.startswith((f"{name}_", f"{name}-"))]
        if owners:
            found[max(owners, key=len)].append(picture.name)
    return found


def _section(content: dict[str, Any], pictures: Iterable[str] = ()) -> str:
    name = content["benchmark"]
    lines = [f"## {name}", "", about(HERE / f"{name}.py"), ""]
    runs: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in content["rows"]:
        run = row.get("of", content)
        runs.setdefault((run["date"][:10], run["machine"], run["git"].rstrip("+")[:8]), []).append(row)
    for (date, machine, git), rows in runs.items():
        lines += [f"`python benchmarks/{name}.py`, {date}, {machine}, commit {git}:", "", *_table(rows), ""]
    for picture in pictures:
        lines += [f"![{picture.removesuffix('.png')}](../benchmarks/results/{picture})", ""]
    return "\n".join(lines)


def _table(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Cases down and metrics across, or the other way round, or a line a figure."""
    cells: dict[tuple[str, str], str] = {}
    for row in rows:
        source = "" if row["source"] == "measured" else f" ({row['source']})"
        cells[row["case"] + source, row["metric"]] = _figure(row)
    cases, metrics = (list(dict.fromkeys(key[n] for key in cells)) for n in (0, 1))
    if len(metrics) <= _COLUMNS:
        return _markdown(
            "case", metrics, [(one, [cells.get((one, metric), "") for metric in metrics]) for one in cases]
        )
    if len(cases) <= _COLUMNS:
        return _markdown("", cases, [(metric, [cells.get((one, metric), "") for one in cases]) for metric in metrics])
    return _markdown("case", ["metric", "figure"], [(case, [metric, told]) for (case, metric), told in cells.items()])


def _markdown(corner: str, columns: list[str], lines: list[tuple[str, list[str]]]) -> list[str]:
    head = [f"| {' | '.join(_safe(one) for one in [corner, *columns])} |", "|" + "---|" * (len(columns) + 1)]
    return head + [f"| {' | '.join(_safe(one) for one in [name, *cells])} |" for name, cells in lines]


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _figure(row: dict[str, Any]) -> str:
    told = number(row["mean"])
    if row["n"] == 1:
        return told
    spread = "" if row["sd"] is None else f" ± {number(row['sd'])}"
    return f"{told}{spread} (n {row['n']:,})"


def number(value: float) -> str:
    """Four digits, and all of those before the point.

    Example:
        >>> number(0.33441), number(2876.4), number(12.0), number(0.00002)
        ('0.3344', '2,876', '12', '2e-05')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
