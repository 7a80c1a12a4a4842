"""The pictures that every run of a retriever keeps, beside its figures and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from recsys.confidence import bootstrap_intervals
from recsys.metrics import UserSums
from training.bundle_evaluation import BundleAnswers, joined
from training.evaluation import KS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: lengths of list that recall is drawn at
_LENGTHS = (1, 2, 5, *KS)

#: of a catalogue's map: more cover each other
_POINTS = 5000

#: groups of wanted items, each of about as many queries
_GROUPS = 5


def run_pictures(
    folder: Path,
    answers: BundleAnswers,
    comparison: Mapping[str, Mapping[str, float]],
    epochs: Sequence[Mapping[str, float]],
    best_epoch: int,
) -> list[Path]:
    """Draws and writes them; their paths.

    Args:
        folder: Where PNG files are written.
        answers: What the bundle answers.
        comparison: The model's figures, first, and those of baselines.
        epochs: Each epoch's metrics.
        best_epoch: The epoch that validation chose.
    """
    from training import plots

    drawn: dict[str, Figure] = {
        "learning_curves": plots.learning_curves(epochs, best_epoch),
        "comparison": plots.comparison(comparison),
        "recall": recall_picture(answers, comparison),
        "popularity": popularity_picture(answers),
        "item_map": item_map(answers),
    }
    return [plots.saved(figure, folder / f"{name}.png") for name, figure in drawn.items()]


def recall_picture(answers: BundleAnswers, comparison: Mapping[str, Mapping[str, float]]) -> Figure:
    """Recall by the length of the list: the model with its interval, and the baselines where they were measured."""
    from training.plots import recall_curves

    name, *others = comparison
    sums = joined([UserSums.of(one, _LENGTHS) for one in answers.ranked])
    means = (sums.sums.sum(0) / sums.counts.sum(0)).tolist()
    values = dict(zip(sums.names, means, strict=True))
    intervals = bootstrap_intervals(sums)
    rows = {name: {k: values[f"recall@{k}"] for k in _LENGTHS}}
    rows |= {other: {k: comparison[other][f"recall@{k}"] for k in KS} for other in others}
    return recall_curves(rows, {name: {k: intervals[f"recall@{k}"] for k in _LENGTHS}})


def popularity_picture(answers: BundleAnswers, k: int = 10) -> Figure:
    """The share of hits among k by how often the wanted item was taken in training, groups of about as many queries."""
    from training.plots import popularity_slices

    counts = torch.from_numpy(answers.evaluation.prepared.item_counts)
    edges = _edges(np.concatenate([counts[one.items].numpy() for one in answers.ranked]))
    sums = []
    for one in answers.ranked:
        taken = counts[one.items]
        sums.append(UserSums.of(one, [k], {name: (taken >= low) & (taken <= high) for name, low, high in edges}))
    whole = joined(sums)
    intervals = bootstrap_intervals(whole)
    added = zip(whole.sums.sum(0).tolist(), whole.counts.sum(0).tolist(), strict=True)
    totals = dict(zip(whole.names, added, strict=True))
    slices = {}
    for name, *_ in edges:
        hits, queries = totals[f"{name}/hr@{k}"]
        slices[name] = (hits / queries, *intervals[f"{name}/hr@{k}"], int(queries))
    return popularity_slices(slices, f"hr@{k}")


def item_map(answers: BundleAnswers) -> Figure:
    """The catalogue's vectors in the two directions in which they differ most, by how popular items are."""
    from training.plots import embedding_map, placed

    bundle = answers.generator.bundle
    rows = np.linspace(0, len(bundle.items) - 1, min(len(bundle.items), _POINTS)).astype(np.int64)
    told = "times taken in training (0 drawn as 1)"
    return embedding_map(placed(bundle.index.vectors_of(rows)), values=bundle.item_counts[rows].clip(1), said=told)


def _edges(counts: np.ndarray) -> list[tuple[str, int, int]]:
    """Ranges of counts that hold about as many each: name, lowest and highest; what is never taken by itself."""
    cold, counts = counts[counts == 0], np.sort(counts[counts > 0])
    edges = [("never", 0, 0)] if len(cold) else []
    low = 1
    for part in np.array_split(counts, min(_GROUPS, max(len(counts), 1))):
        if not len(part) or part[-1] < low:
            continue
        high = int(part[-1])
        edges.append((f"{low:,}" if low == high else f"{low:,} to {high:,}", low, high))
        low = high + 1
    return edges
