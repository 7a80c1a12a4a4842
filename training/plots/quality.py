"""How well a model ranks: beside its baselines, at every length of list, and by how popular the wanted items are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from training.plots.style import BLUE, COLOURS, GREY, MARKERS, canvas, styled


@styled
def comparison(rows: Mapping[str, Mapping[str, float]], metrics: Sequence[str] = ("hr@10", "ndcg@10")) -> Figure:
    """Bars of the test metrics of models and baselines.

    Args:
        rows: Model name to metrics.
        metrics: Which of them are drawn, a group each.
    """
    figure, axes = canvas()
    width = 0.8 / len(rows)
    for place, (name, figures) in enumerate(rows.items()):
        xs = [group + (place - (len(rows) - 1) / 2) * width for group in range(len(metrics))]
        bars = axes.bar(xs, [figures[one] for one in metrics], width, label=name, color=COLOURS[place % len(COLOURS)])
        axes.bar_label(bars, fmt="%.3f", fontsize=8)
    axes.set_xticks(range(len(metrics)), [metric.upper() for metric in metrics])
    axes.grid(visible=False, axis="x")
    axes.set(ylabel="test part, whole catalogue ranked")
    axes.legend()
    return figure


@styled
def recall_curves(
    rows: Mapping[str, Mapping[int, float]], bands: Mapping[str, Mapping[int, tuple[float, float]]] | None = None
) -> Figure:
    """Which share of what users took is found, by the length of the list.

    Args:
        rows: Model name to k to recall at k.
        bands: Model name to k to (low, high); drawn around the models that have one.
    """
    figure, axes = canvas()
    for place, (name, values) in enumerate(rows.items()):
        ks = sorted(values)
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        axes.plot(ks, [values[k] for k in ks], color=colour, marker=marker, markersize=4, label=name)
        if band := (bands or {}).get(name):
            said = "95% interval, drawing users" if place == 0 else None
            ks = sorted(band)
            low, high = zip(*(band[k] for k in ks), strict=True)
            axes.fill_between(ks, low, high, color=colour, alpha=0.2, lw=0, label=said)
    ks = sorted({k for values in rows.values() for k in values})
    axes.set(xscale="log", xlabel="k, the length of the list", ylabel="recall at k", ylim=(0, None))
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.minorticks_off()
    axes.legend()
    return figure


@styled
def popularity_slices(slices: Mapping[str, tuple[float, float, float, int]], metric: str = "hr@10") -> Figure:
    """A figure by how often the wanted item was taken in training.

    Args:
        slices: What a group of items is called, least popular first, to (figure, low, high, queries).
        metric: The figure.
    """
    figure, axes = canvas()
    names = [f"{name}\n{n:,} queries" for name, (*_, n) in slices.items()]
    values = [one[0] for one in slices.values()]
    spread = [[max(value - low, 0) for value, low, *_ in slices.values()],
              [max(high - value, 0) for value, _, high, _ in slices.values()]]  # fmt: skip
    axes.bar(names, values, width=0.7, color=BLUE, yerr=spread, error_kw={"ecolor": GREY, "capsize": 3})
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", labelsize=8)
    axes.set(xlabel="how often the wanted item was taken in training", ylabel=f"test {metric.upper()}", ylim=(0, None))
    return figure
