"""What quality costs: models by a cost and a figure, and those that none beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from features.errors import InputError
from training.plots.style import COLOURS, GREY, MARKERS, canvas, styled


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other one beats: none has a lower cost and at least the quality, or more quality at that cost.

    Args:
        points: (cost, quality) each.

    Returns:
        Places of the points, cheapest first; of equal points, the first.

    Example:
        >>> front([(1, 0.2), (2, 0.5), (3, 0.4), (2, 0.3)])
        [0, 1]
    """
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1], place))
    kept, best = [], float("-inf")
    for place in order:
        if points[place][1] > best:
            kept.append(place)
            best = points[place][1]
    return kept


@styled
def pareto(
    groups: Mapping[str, Mapping[str, tuple[float, float]]], cost: str = "parameters", quality: str = "test NDCG@10"
) -> Figure:
    """Quality against a cost, such as parameters or milliseconds a request, with the front of what none beats in both.

    Args:
        groups: What belongs together, such as a kind of embedding, to a model's name to its (cost, quality).
        cost: What the cost is, with its unit; above 0, and drawn in powers of ten where it spans one.
        quality: What the quality is.

    Raises:
        InputError: There is nothing to draw, or a cost is not above 0.
    """
    named = [(name, *point) for group in groups.values() for name, point in group.items()]
    if not named:
        raise InputError("a Pareto front of no models")
    for name, price, _ in named:
        if not price > 0:
            raise InputError(f"the cost of {name!r} is a number above 0, got {price}")
    figure, axes = canvas()
    for place, (group, models) in enumerate(groups.items()):
        axes.scatter(
            *zip(*models.values(), strict=True),
            color=COLOURS[place % len(COLOURS)],
            marker=MARKERS[place % len(MARKERS)],
            label=group,
            zorder=3,
        )
    best = [named[place] for place in front([(price, value) for _, price, value in named])]
    axes.step(*zip(*(one[1:] for one in best), strict=True), where="post", color=GREY, ls=":", label="none is better")
    costs = [price for _, price, _ in named]
    # within one power of ten, its few marks would say little
    axes.set(xscale="log" if max(costs) > 10 * min(costs) else "linear", xlabel=cost, ylabel=quality)
    axes.xaxis.set_major_formatter(EngFormatter())
    for name, price, value in best:
        axes.annotate(name, (price, value), xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.margins(x=0.12, y=0.12)
    axes.legend()
    return figure
