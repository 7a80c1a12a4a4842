"""How well a matcher tells pairs apart, and how much its chances mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from features.labelled_pairs import LabelledPairs
from recsys.auc import roc_auc
from recsys.matching.calibration import calibration_error, probabilities, reliability
from recsys.matching.thresholds import decide, for_precision

#: precisions that are asked for, to see on the test pairs what becomes of them
WANTED = (0.9, 0.95, 0.99)


def figures_of(worth: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    """F1, precision and recall at a threshold, AUC, and the expected calibration error.

    Args:
        worth: Calibrated log-odds. (m,)
        labels: (m,) bool
        threshold: From which on a pair counts as the same.
    """
    decision = decide(worth, labels, threshold)
    return {
        **{name: getattr(decision, name) for name in ("f1", "precision", "recall")},
        "auc": roc_auc(labels, worth),
        "calibration_error": calibration_error(probabilities(worth), labels),
    }


def figures_on_test(
    data: LabelledPairs,
    opinions: tuple[np.ndarray, np.ndarray | None],
    worth: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    threshold: float,
) -> tuple[dict[str, float], dict[str, Any]]:
    """The figures of the test pairs.

    Besides those of `figures_of`: how well stated chances meant what they said before anything was learned from
    validation pairs (of two opinions, their mean); F1 of pairs both of whose records training has seen, and of the
    others; and for each precision of `WANTED` what became of it.

    Args:
        data: Pairs with labels.
        opinions: What the language model says of the test pairs, and the trees: see `recsys.matching.ditto.opinions`.
        worth: What both are worth together, calibrated. (m,)
        validation: The same of the validation pairs, and which of them are the same.
        threshold: From which on a pair counts as the same.

    Returns:
        The figures, and the points of the reliability curves before and after.
    """
    labels = data.test.labels
    assert labels is not None  # as of all of `data`
    stated = as_stated(opinions)
    found = figures_of(worth, labels, threshold)
    found["calibration_error_before"] = calibration_error(probabilities(stated), labels)
    known = seen(data)
    for name, places in (("seen", known), ("unseen", ~known)):
        if labels[places].any():
            found[f"f1_{name}"] = decide(worth[places], labels[places], threshold).f1
            found[f"pairs_{name}"] = int(places.sum())
    for wanted in WANTED:
        if (chosen := for_precision(*validation, wanted)) is not None:
            decision = decide(worth, labels, chosen.threshold)
            found |= {f"{name}_at_{wanted:g}": getattr(decision, name) for name in ("precision", "recall")}
    curves = {"before": stated, "calibrated": worth}
    return found, {name: reliability(probabilities(one), labels) for name, one in curves.items()}


def as_stated(opinions: tuple[np.ndarray, np.ndarray | None]) -> np.ndarray:
    """What is said before anything is learned from validation pairs. (m,), (m,) -> (m,)"""
    return np.mean([one for one in opinions if one is not None], axis=0)


def seen(data: LabelledPairs) -> np.ndarray:
    """Which test pairs are of records that training pairs have, too: of the same words, on either side. (m,) bool"""
    trained = data.train.narrowed()
    known = pl.concat([trained.left.values, trained.right.values]).unique().with_columns(known=True)
    found = []
    for table, rows in ((data.test.left, data.test.left_rows), (data.test.right, data.test.right_rows)):
        told = table.values[rows].join(known, on=table.attributes, how="left", maintain_order="left")
        found.append(told["known"].fill_null(False).to_numpy())
    return found[0] & found[1]
