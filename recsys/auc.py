"""Figures of a classifier over a whole part of the data: area under the ROC curve, exact with ties, and log loss."""

from __future__ import annotations

import numpy as np

from features.errors import InputError


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of (positive, negative) pairs in which the positive has the higher score; a tie counts half.

    By ranks (the Mann-Whitney statistic), so it is exact and takes one sort. The mean of the areas of batches is
    another number, and a worse one.

    Args:
        labels: 0 or 1. (n,)
        scores: Higher for what is likelier positive. (n,)

    Returns:
        0 to 1; NaN where there is no positive or no negative.

    Raises:
        InputError: A score that is not a number, or a label other than 0 and 1.

    Example:
        >>> roc_auc(np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.4]))
        0.875
    """
    labels, scores = _checked(labels, scores)
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    order = np.argsort(scores)
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))  # of each run of equal scores
    lengths = np.diff(np.append(starts, len(ordered)))
    rank = np.repeat(starts + (lengths + 1) / 2, lengths)  # counted from 1, the mean of the run
    of_positives = float(rank[labels[order] == 1].sum())
    return (of_positives - positives * (positives + 1) / 2) / (positives * negatives)


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean binary cross-entropy in nats, computed from logits so that a confident score does not overflow.

    Args:
        labels: 0 or 1. (n,)
        logits: Log odds of a positive. (n,)

    Raises:
        InputError: A logit that is not a number, or a label other than 0 and 1.

    Example:
        >>> round(log_loss(np.array([1, 0]), np.array([0.0, 0.0])), 4)
        0.6931
    """
    labels, logits = _checked(labels, logits)
    return float(np.mean(np.logaddexp(0, logits) - labels * logits)) if len(labels) else float("nan")


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64: a mean of a million float32 numbers has five digits left."""
    labels, scores = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise InputError(f"labels and scores are two columns of one length, got shapes {labels.shape}, {scores.shape}")
    other = (labels != 0) & (labels != 1)
    if other.any():
        raise InputError(f"labels are 0 or 1, got {labels[other][0]:g} in row {int(other.argmax())}")
    if np.isnan(scores).any():
        raise InputError(f"the score of row {int(np.isnan(scores).argmax())} is not a number")
    return labels, scores
