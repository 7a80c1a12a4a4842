"""A map of vectors: neighbours in many dimensions are neighbours on paper, as far as that can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from features.errors import InputError
from training.plots.style import COLOURS, GREY, RED, canvas, styled

#: t-SNE is drawn of so many points at most: its time grows with them, and a picture has room for no more
POINTS = 2000


def placed(vectors: np.ndarray, by: Literal["pca", "tsne"] = "pca", seed: int = 0) -> np.ndarray:
    """Places on paper. (n, D) -> (n, 2)

    Args:
        vectors: (n, D)
        by: "pca", the two directions in which the vectors differ most: what is far apart is so in truth. Or "tsne"
            (van der Maaten and Hinton, 2008), by cosine: what is near is near in truth, and distances between groups
            mean nothing.
        seed: Of t-SNE.

    Raises:
        InputError: Fewer than three vectors, values that are no numbers, or another way.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) < 3:
        raise InputError(f"a map is drawn of three vectors or more, and the shape of these is {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise InputError(f"vector {int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])} of a map is not finite")
    if by == "pca":
        centred = vectors - vectors.mean(0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        return np.pad(centred @ axes[:2].T, ((0, 0), (0, max(0, 2 - len(axes)))))
    if by != "tsne":
        raise InputError(f"by is {by!r}, not 'pca' or 'tsne'")
    from sklearn.manifold import TSNE

    near = min(30, (len(vectors) - 1) / 3)
    return TSNE(metric="cosine", init="random", perplexity=near, random_state=seed).fit_transform(vectors)


@styled
def embedding_map(
    places: np.ndarray,
    groups: Sequence[str | None] | None = None,
    *,
    values: np.ndarray | None = None,
    said: str = "",
    names: Mapping[int, str] | None = None,
    highlighted: Sequence[int] = (),
    highlighted_as: str = "highlighted",
) -> Figure:
    """Points on a map, coloured by group or by a number, some of them named.

    Args:
        places: As `placed` gives them. (n, 2)
        groups: What each point belongs to; the six largest groups have colours, all others, and None, are grey. (n,)
        values: A number above 0 for each point, drawn in powers, where there are no groups. (n,)
        said: What groups or values are.
        names: Of points that are named.
        highlighted: Points that are drawn as stars, such as new items.
        highlighted_as: What these are called.

    Raises:
        InputError: Groups or values that do not fit the points.
    """
    for what, one in (("groups", groups), ("values", values)):
        if one is not None and len(one) != len(places):
            raise InputError(f"{len(places)} points have {len(one)} {what}")
    figure, axes = canvas(7, 6)
    if values is not None:
        drawn = axes.scatter(
            places[:, 0], places[:, 1], c=values, norm="log", cmap="viridis", s=8, alpha=0.7, linewidths=0
        )
        figure.colorbar(drawn, label=said, shrink=0.7)
    else:
        _draw_groups(axes, places, groups or [""] * len(places))
    if len(highlighted):
        chosen = places[np.asarray(highlighted)]
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=110, marker="*", color=RED, edgecolors="white", zorder=4, label=highlighted_as
        )
    for place, name in (names or {}).items():
        axes.annotate(
            name, places[place], xytext=(5, 5), textcoords="offset points", fontsize=8, zorder=5,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
        )  # fmt: skip
    axes.set_axis_off()  # places have no unit
    if axes.get_legend_handles_labels()[1]:
        figure.legend(
            loc="outside right upper", fontsize=8, markerscale=1.5, title=None if values is not None else said
        )
    return figure


def _draw_groups(axes: Axes, places: np.ndarray, groups: Sequence[str | None]) -> None:
    """The six largest groups in colours, the largest first, and all others grey."""
    largest = [name for name, _ in Counter(one for one in groups if one is not None).most_common(len(COLOURS))]
    rank: dict[str | None, int] = {name: n for n, name in enumerate(largest)}
    ranks = np.array([rank.get(one, -1) for one in groups])
    if (ranks < 0).any():
        others = places[ranks < 0]
        axes.scatter(others[:, 0], others[:, 1], s=6, color=GREY, alpha=0.3, linewidths=0, label="others")
    for name, n in rank.items():
        some = places[ranks == n]
        axes.scatter(some[:, 0], some[:, 1], s=10, color=COLOURS[n], alpha=0.7, linewidths=0, label=name or None)
