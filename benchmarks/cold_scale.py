"""What is found of new items, and of others, by what the vectors of new items are multiplied by.

That number, `model.new_item_scale`, is read when items are ranked, so that one trained model has a figure for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recsys.retrievers import Retriever
from training.evaluation import Evaluation, ModelScores

SCALES = (0.8, 0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0)
K = 20

#: how much of what was found of known items may be lost
LOSS = 0.03


@torch.no_grad()
def recalls(model: Retriever, evaluation: Evaluation, scales: Sequence[float] = SCALES) -> list[float]:
    """Recall@20 with each scale, of users with one target each. (S scales) -> (S,)

    Args:
        model: One that was trained with a scale of 1.
        evaluation: What is asked of it.
        scales: What the vectors of items without a training interaction are multiplied by.
    """
    items, found = len(evaluation.prepared.items), torch.zeros(len(scales), dtype=torch.int64)
    new = torch.from_numpy(evaluation.prepared.item_counts == 0)
    scores = ModelScores(model, evaluation)
    for users in evaluation.chunks():
        block = scores.scorer(users)(slice(0, len(users)), slice(0, items))
        seen = evaluation.seen.take(users)
        block[torch.repeat_interleave(torch.arange(len(users)), seen.lengths), seen.values] = -torch.inf
        targets = evaluation.targets.take(users).values[:, None]
        for n, scale in enumerate(scales):
            scaled = torch.where(new, block * scale, block)
            found[n] += ((scaled > scaled.gather(1, targets)).sum(dim=1) < K).sum()
    return (found / len(evaluation.users)).tolist()


def chosen_scale(found: Sequence[float], least: float, scales: Sequence[float] = SCALES) -> float | None:
    """The largest scale that leaves so much of what is found of known items, on validation; None where none does.

    Args:
        found: Recall of known items at each scale. (S,)
        least: What has to be left.
        scales: (S,)
    """
    return max((scale for scale, one in zip(scales, found, strict=True) if one >= least), default=None)


def draw(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], points: Mapping[str, Any], path: Path) -> None:
    """Recall of withheld items against that of others: a line for each model, and what has no scale as points.

    Args:
        curves: Recall of others, and of withheld items, at each scale, by model. (S,) each
        points: Both, by baseline.
        path: Where the picture goes.
    """
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    at_one = SCALES.index(1.0)
    for n, (name, (warm, cold)) in enumerate(curves.items()):
        (line,) = panel.plot(warm, cold, "-" if n < 10 else "--", lw=1.2, label=name)  # there are ten colours
        panel.plot(warm[at_one], cold[at_one], "o", color=line.get_color(), ms=5)
    for (name, (warm, cold)), mark in zip(points.items(), "x+*^v", strict=False):
        panel.plot(warm, cold, mark, color="black", ms=8, label=name)
    panel.set(xlabel=f"recall@{K} of known items", ylabel=f"recall@{K} of items that nobody has taken")
    panel.set_title("More of what is new, less of what is known (dots: new items as they are)", fontsize=10)
    panel.legend(fontsize=7)
    panel.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
