"""Pictures of `interests.py`: what each setting of a mixture does, on validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: what is varied, and what people call it
SETTINGS = {
    "clusters": "clusters",
    "components": "interests that ask",
    "mixing": "share of similar users",
    "neighbours": "similar users",
}

#: how the metrics of trials begin
VALIDATION = "validation "


def draw(rows: Sequence[dict[str, Any]], metrics: Sequence[str], path: Path) -> None:
    """Each metric, a row of panels, against each setting, a line a data set.

    Args:
        rows: Of the report; those of trials have the settings and which of them was "varied".
        metrics: Of validation.
        path: Where the picture goes.
    """
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(metrics), len(SETTINGS), sharex="col")
    for column, (setting, label) in enumerate(SETTINGS.items()):
        ticks: set[float] = set()
        for line, metric in enumerate(metrics):
            trials: dict[str, list[dict[str, Any]]] = {}
            for row in rows:
                if row["metric"] == VALIDATION + metric and "varied" in row["settings"]:
                    trials.setdefault(row["case"].split("/")[0], []).append(row)
            for case, all_of_it in trials.items():
                values, found = varied(all_of_it, setting)
                ticks |= set(values)
                panels[line, column].plot(values, found, "o-", lw=1, label=case)
        bottom = panels[-1, column]
        bottom.set_xlabel(label)
        if setting != "mixing":
            bottom.set_xscale("log")
        marks = sorted(ticks)
        # of two that would be written over each other, the higher one
        named = [n == len(marks) - 1 or marks[n + 1] > 1.4 * one for n, one in enumerate(marks)]
        bottom.set_xticks(marks, [f"{one:g}" * shown for one, shown in zip(marks, named, strict=True)], rotation=45)
        bottom.set_xticks([], minor=True)
    for line, metric in enumerate(metrics):
        panels[line, 0].set_ylabel(f"{metric} on validation")
    panels[0, -1].legend(fontsize=8)
    figure.savefig(path, dpi=130)


def varied(trials: Sequence[dict[str, Any]], setting: str) -> tuple[list[float], list[float]]:
    """The values of a setting in rising order, the others as they were when it was varied, and what they came to.

    Of the retriever that has more of them, a plain mixture or a smoothed one. No settings are tried twice, so that one
    of them may have been tried when another setting was varied.
    """
    best: dict[float, float] = {}
    for kind in ("smoothed", "mixture"):
        mine = [row for row in trials if row["case"].split("/")[1].startswith(kind)]
        last = next((row["settings"] for row in reversed(mine) if row["settings"]["varied"] == setting), None)
        if last is not None:
            alike = [row for row in mine if _rest(row["settings"], setting) == _rest(last, setting)]
            found = {row["settings"][setting]: row["mean"] for row in alike}
            best = max(best, found, key=len)
    return sorted(best), [best[value] for value in sorted(best)]


def _rest(settings: dict[str, Any], setting: str) -> list[float]:
    return [settings[one] for one in SETTINGS if one != setting]
