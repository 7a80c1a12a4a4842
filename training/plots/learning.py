"""How training went: loss and a validation figure, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.plots.style import BLUE, GREY, ORANGE, canvas, styled


@styled
def learning_curves(epochs: Sequence[Mapping[str, float]], best_epoch: int, metric: str = "ndcg@10") -> Figure:
    """Training loss and a validation figure over the epochs.

    Args:
        epochs: Each epoch's metrics, with "epoch" among them.
        best_epoch: The epoch that validation chose, marked.
        metric: The validation figure.
    """
    figure, left = canvas()
    left.set(xlabel="epoch", ylabel="training loss (nats)")
    points = [(one["epoch"], one["train/loss"]) for one in epochs if "train/loss" in one]
    lines = left.plot(*zip(*points, strict=True), color=BLUE, label="training loss") if points else []
    right = left.twinx()
    right.grid(visible=False)
    said = f"validation {metric.upper()}"
    right.set(ylabel=said)
    right.spines["right"].set_visible(True)
    points = [(one["epoch"], one[f"validation/{metric}"]) for one in epochs if f"validation/{metric}" in one]
    if points:
        # a single point has no line to be seen by
        lines += right.plot(*zip(*points, strict=True), color=ORANGE, marker="o", markersize=3, label=said)
    lines.append(left.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch ({best_epoch})"))
    places = left.xaxis.get_major_locator()
    assert isinstance(places, MaxNLocator)
    places.set_params(integer=True)
    figure.legend(handles=lines, loc="outside upper center", ncols=3)
    return figure
