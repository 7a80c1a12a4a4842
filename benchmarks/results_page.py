"""The page of measured results, made of the JSON of all benchmarks: no figure on it is typed by hand."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

#: columns that a table may have before it is turned, or goes on in another one
_COLUMNS = 9

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
        lines += [f"`python benchmarks/{name}.py`, {date}, {machine}, commit {git}:", "", *_tables(rows)]
    for picture in pictures:
        lines += [f"![{picture.removesuffix('.png')}](../benchmarks/results/{picture})", ""]
    return "\n".join(lines)


def _tables(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Cases down and metrics across, of cases with like metrics; turned where that is narrower, or cut into several."""
    cases: dict[str, dict[str, str]] = {}
    for row in rows:
        source = "" if row["source"] == "measured" else f" ({row['source']})"
        cases.setdefault(row["case"] + source, {})[row["metric"]] = _figure(row)
    lines: list[str] = []
    for table in _alike(cases):
        metrics = list(dict.fromkeys(metric for case in table for metric in cases[case]))
        if len(metrics) > _COLUMNS >= len(table):
            lines += _markdown("", table, {metric: [cases[one].get(metric, "") for one in table] for metric in metrics})
            continue
        for start in range(0, len(metrics), _COLUMNS):
            across = metrics[start : start + _COLUMNS]
            down = {one: [cases[one].get(metric, "") for metric in across] for one in table}
            lines += _markdown("case", across, {one: cells for one, cells in down.items() if any(cells)})
    return lines


def _alike(cases: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """Cases that belong in one table: those whose metrics another one of it has, too."""
    tables: list[tuple[set[str], list[str]]] = []
    for case, cells in cases.items():
        metrics = set(cells)
        for held, names in tables:
            if metrics <= held or held <= metrics:
                held |= metrics
                names.append(case)
                break
        else:
            tables.append((metrics, [case]))
    return [names for _, names in tables]


def _markdown(corner: str, columns: list[str], lines: Mapping[str, list[str]]) -> list[str]:
    """A table, and an empty line after it."""
    head = [f"| {' | '.join(_safe(one) for one in [corner, *columns])} |", "|" + "---|" * (len(columns) + 1)]
    return [*head, *(f"| {' | '.join(_safe(one) for one in [name, *cells])} |" for name, cells in lines.items()), ""]


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
