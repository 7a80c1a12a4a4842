"""Whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from training.plots.style import COLOURS, GREY, canvas, styled


@styled
def reliability(
    rows: Mapping[str, Sequence[tuple[float, float, int]]], of: str = "share of pairs that are the same"
) -> Figure:
    """How often what was given a chance came true, beside that chance; a point is as large as it has examples.

    Args:
        rows: Name to what `recsys.matching.calibration.reliability` gives.
        of: What the share is of.
    """
    figure, axes = canvas(5, 4.5)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="as often as stated")
    for (name, bins), colour in zip(rows.items(), COLOURS, strict=False):
        stated, share, n = zip(*bins, strict=True)
        axes.plot(stated, share, color=colour, label=name)
        axes.scatter(stated, share, [10 + 90 * one / max(n) for one in n], color=colour)
    axes.set(xlabel="stated probability", ylabel=of, xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    return figure
