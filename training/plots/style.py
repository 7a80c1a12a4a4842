"""What all pictures have in common: size, colours that the colour-blind tell apart, and how a file comes to be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Okabe and Ito's palette (jfly.uni-koeln.de/color)
BLUE, ORANGE, GREEN, PURPLE, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
GREY = "#7F7F7F"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)

#: told apart in print without colours, too
MARKERS = ("o", "s", "^", "D", "v", "P")

_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "legend.frameon": False,
    "font.size": 10,
}

#: every drawing function is decorated by it
styled = matplotlib.rc_context(_STYLE)


def canvas(width: float = 7.0, height: float = 4.0) -> tuple[Figure, Axes]:
    """An empty picture, of inches, that no window shows: it belongs to nobody, and needs no closing."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def saved(figure: Figure, path: Path) -> Path:
    """Writes a PNG file, whole or not at all; its path."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(aside, dpi=120, format="png")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path
