"""Figures as text, for people."""

from __future__ import annotations

from collections.abc import Mapping

from features.prepared import Prepared
from training.evaluation import METRICS


def table(rows: Mapping[str, Mapping[str, float]], prepared: Prepared) -> str:
    """Test metrics, a line a model.

    Args:
        rows: Model name to metrics.
        prepared: The data, which the heading tells about.
    """
    split = prepared.split
    width = max(len(name) for name in rows)
    lines = [
        f"   test part of {prepared.dataset.name}, split {split.name} ({split.sha256[:12]}): "
        f"{len(prepared.test.values):,} queries over {len(prepared.items):,} items, seen items removed: {split.seen}",
        "   " + " " * width + "".join(f"{metric.upper():>14}" for metric in METRICS),
    ]
    for name, figures in rows.items():
        lines.append(f"   {name:<{width}}" + "".join(f"{figures[metric]:>14.4f}" for metric in METRICS))
    unreachable = max(figures.get("unreachable", 0) for figures in rows.values())
    if unreachable:
        lines.append(
            f"   {unreachable:,.0f} queries ask for an item that the user had before, "
            "which is removed from the ranking: no model can answer them"
        )
    ties = {name: figures["ties"] for name, figures in rows.items() if figures.get("ties")}
    if ties:
        lines.append("   targets with a tied score: " + ", ".join(f"{name} {n:,.0f}" for name, n in ties.items()))
    return "\n".join(lines)
