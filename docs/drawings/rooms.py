"""Draws rooms.svg, beside this file: the rooms, who imports whom, and the way that data takes.

    python docs/drawings/rooms.py

Boxes bring their own ground, and what lies between them is grey, so that it reads on light pages and on dark ones.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

INK, GREY = "#1d2430", "#8a93a3"
#: safe for the colour-blind, and told apart by their titles besides
FEATURES, RECSYS, SERVING, TRAINING, OUTSIDE = "#cfe3f5", "#d6ecd2", "#fbe3c0", "#e4d9f2", "#eceef1"

Box = tuple[float, float, float, float]


def box(axes: Axes, place: Box, colour: str, title: str, told: str = "") -> None:
    """A box with a title and what is in it.

    Args:
        axes: Where.
        place: Left, bottom, width, height.
        colour: Of its ground.
        title: In bold.
        told: Lines below.
    """
    left, bottom, width, height = place
    shape = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, shape, facecolor=colour, edgecolor=GREY, linewidth=1))
    top = bottom + height - (0.28 if told else height / 2)
    axes.text(left + width / 2, top, title, ha="center", va="center", color=INK, fontsize=11, fontweight="bold")
    if told:
        axes.text(left + width / 2, top - 0.24, told, ha="center", va="top", color=INK, fontsize=9, linespacing=1.35)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], told: str = "", bend: float = 0.0) -> None:
    """From one box to another, with a word at its middle."""
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.6, "connectionstyle": f"arc3,rad={bend}"}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
    if told:
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.13 - bend
        axes.text(*middle, told, ha="center", va="bottom", color=GREY, fontsize=9)


def imports(axes: Axes) -> None:
    """The four rooms; an arrow says who imports whom."""
    axes.text(0.1, 8.35, "Who imports whom", color=GREY, fontsize=12, fontweight="bold")
    rooms = [
        (TRAINING, "training/", "Lightning, MLflow,\nevaluation, promotion,\nthe command line"),
        (SERVING, "serving/", "bundle, candidates,\nthe HTTP service;\nno Lightning, no TorchRec"),
        (RECSYS, "recsys/", "models, losses, indexes,\nmeasures; matching,\nblocking, entities"),
        (FEATURES, "features/", "tables to arrays: sources,\ndeclared features,\nsplits, histories"),
    ]
    for place, (colour, title, told) in enumerate(rooms):
        box(axes, (0.1 + 3.05 * place, 6.7, 2.35, 1.4), colour, title, told)
        if place:
            arrow(axes, (0.1 + 3.05 * place - 0.7, 7.4), (0.1 + 3.05 * place, 7.4))


def way(axes: Axes) -> None:
    """From tables to answers, and back."""
    axes.text(0.1, 5.95, "The way that data takes", color=GREY, fontsize=12, fontweight="bold")
    stations = {
        (0.1, 4.2): (OUTSIDE, "catalogues", "records of\nseveral feeds"),
        (3.15, 4.2): (RECSYS, "resolve", "block, judge,\ncluster"),
        (6.2, 4.2): (FEATURES, "entity map", "ids that stay"),
        (0.1, 2.3): (OUTSIDE, "interactions", "items, users"),
        (3.15, 2.3): (FEATURES, "data set", "checked, split,\nencoded"),
        (6.2, 2.3): (TRAINING, "training", "epochs chosen\non validation"),
        (9.25, 2.3): (SERVING, "bundle", "what is evaluated\nis what is served"),
        (9.25, 0.4): (TRAINING, "registry", "challenger, gates,\nchampion"),
        (6.2, 0.4): (SERVING, "service", "candidates in process\nor over HTTP"),
        (3.15, 0.4): (SERVING, "state", "events, new items,\nimpressions"),
    }
    for (left, bottom), (colour, title, told) in stations.items():
        box(axes, (left, bottom, 2.35, 1.05), colour, title, told)
    arrow(axes, (2.45, 4.72), (3.15, 4.72))
    arrow(axes, (5.5, 4.72), (6.2, 4.72))
    arrow(axes, (6.2, 4.3), (5.1, 3.35), "items", 0.0)
    for left in (2.45, 5.5, 8.55):
        arrow(axes, (left, 2.82), (left + 0.7, 2.82))
    arrow(axes, (10.42, 2.3), (10.42, 1.45))
    arrow(axes, (9.25, 0.92), (8.55, 0.92))
    arrow(axes, (6.2, 0.92), (5.5, 0.92))
    arrow(axes, (4.32, 1.45), (4.32, 2.3))
    axes.text(4.42, 1.87, "the next build", color=GREY, fontsize=9, va="center")


def main() -> None:
    """Writes the file, the same to the last byte each time."""
    plt.rcParams.update({"svg.hashsalt": "rooms", "font.family": "DejaVu Sans"})
    figure, axes = plt.subplots(figsize=(11.7, 8.5))
    axes.set(xlim=(0, 11.7), ylim=(0.2, 8.7))
    axes.axis("off")
    imports(axes)
    way(axes)
    figure.savefig(
        Path(__file__).with_suffix(".svg"),
        transparent=True,
        bbox_inches="tight",
        pad_inches=0.05,
        metadata={"Date": None},
    )


if __name__ == "__main__":
    main()
