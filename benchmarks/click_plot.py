"""The picture of the click benchmark: AUC against budget, a panel a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = {"multiplexed": "tab:blue", "non-multiplexed": "tab:orange"}


def draw(rows: Sequence[Mapping[str, Any]], budgets: Mapping[str, Sequence[float | str]], path: Path) -> None:
    """Measured rows with their deviations, solid; with one look-up, dashed; published ones, dotted.

    Args:
        rows: Of a report.
        budgets: The budgets of each data set.
        path: Where the picture goes.
    """
    rows = [row for row in rows if row["metric"] == "auc"]
    names = list(dict.fromkeys(row["case"].partition("/")[0] for row in rows))
    figure = Figure(figsize=(5.5 * len(names), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, data in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        sources = list(dict.fromkeys(row["source"] for row in rows if row["case"].startswith(f"{data}/")))
        for source, mark in zip(sources, "ox+", strict=False):
            means = {row["case"]: row for row in rows if row["source"] == source}
            for kind, colour in COLOURS.items():
                for name, line in ((kind, "-" if source == "measured" else ":"), (f"{kind} with one look-up", "--")):
                    found = [(str(one), means.get(f"{data}/{name}@{one}")) for one in reversed(budgets[data])]
                    found = [(budget, row) for budget, row in found if row]
                    if found:
                        label = name if source == "measured" else f"{name}, published ({mark})"
                        bars = [row["sd"] or 0 for _, row in found]
                        at, height = [budget for budget, _ in found], [row["mean"] for _, row in found]
                        panel.errorbar(at, height, bars, fmt=mark + line, color=colour, label=label, capsize=3, lw=1)
            if f"{data}/collisionless" in means and source == "measured":
                panel.axhline(means[f"{data}/collisionless"]["mean"], color="tab:grey", label="collisionless", lw=1)
        panel.set(title=data, xlabel="embedding budget", ylabel="test AUC")
        panel.legend(fontsize=6)
    figure.suptitle("DCN-V2 at equal embedding budgets (x the paper, + its replication)", fontsize=10)
    figure.savefig(path, dpi=130)
