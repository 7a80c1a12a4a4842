"""Pictures of a run: learning curves, and the model beside its baselines. Colours are safe for the colour-blind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

#: Okabe and Ito's palette
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#7F7F7F"


def learning_curves(
    epochs: Sequence[Mapping[str, float]], best_epoch: int, path: Path, metric: str = "ndcg@10"
) -> Path:
    """Training loss and a validation figure over the epochs.

    Args:
        epochs: Each epoch's metrics, with "epoch" among them.
        best_epoch: The epoch that validation chose, marked.
        path: A PNG file to write.
        metric: The validation figure.
    """
    figure, left = plt.subplots(figsize=(7, 4), layout="constrained")
    left.set(xlabel="epoch", ylabel="training loss (nats)")
    points = [(one["epoch"], one["train/loss"]) for one in epochs if "train/loss" in one]
    lines = left.plot(*zip(*points, strict=True), color=BLUE, label="training loss") if points else []
    right = left.twinx()
    said = f"validation {metric.upper()}"
    right.set(ylabel=said)
    points = [(one["epoch"], one[f"validation/{metric}"]) for one in epochs if f"validation/{metric}" in one]
    if points:
        lines += right.plot(*zip(*points, strict=True), color=ORANGE, label=said)
    lines.append(left.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch ({best_epoch})"))
    left.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(handles=lines, loc="outside upper center", ncols=3)
    return _save(figure, path)


def comparison(rows: Mapping[str, Mapping[str, float]], metrics: Sequence[str], path: Path) -> Path:
    """Bars of the test metrics of the model and its baselines.

    Args:
        rows: Model name to metrics.
        metrics: Which of them are drawn, a group each.
        path: A PNG file to write.
    """
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    width = 0.8 / len(rows)
    for place, (name, figures) in enumerate(rows.items()):
        xs = [group + (place - (len(rows) - 1) / 2) * width for group in range(len(metrics))]
        colour = (BLUE, ORANGE, GREEN, GREY)[place % 4]
        bars = axes.bar(xs, [figures[metric] for metric in metrics], width, label=name, color=colour)
        axes.bar_label(bars, fmt="%.3f", fontsize=8)
    axes.set_xticks(range(len(metrics)), [metric.upper() for metric in metrics])
    axes.set(ylabel="test, full ranking")
    axes.legend()
    return _save(figure, path)


def reliability(rows: Mapping[str, Sequence[tuple[float, float, int]]], path: Path) -> Path:
    """How often what was given a chance came true, beside that chance.

    Args:
        rows: Name to what `recsys.matching.calibration.reliability` gives.
        path: A PNG file to write.
    """
    figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as often as stated")
    for (name, bins), colour in zip(rows.items(), (BLUE, ORANGE, GREEN), strict=False):
        stated, share, n = zip(*bins, strict=True)
        axes.plot(stated, share, color=colour, label=name)
        axes.scatter(stated, share, [10 + 90 * one / max(n) for one in n], color=colour)
    axes.set(xlabel="stated probability", ylabel="share of pairs that are the same", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    return _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
