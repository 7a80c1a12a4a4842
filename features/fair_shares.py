"""How values share what room there is."""

from __future__ import annotations

import numpy as np


def fair_shares(lengths: np.ndarray, room: np.ndarray) -> np.ndarray:
    """How much each value keeps, so that a row has no more than it has room for.

    All values of a row are cut to one length, the longest with which they fit: what short ones do not need, long ones
    have. What dividing leaves over goes to those that stand first.

    Args:
        lengths: Of each value; 0 for one that is not there. (n, columns) int64
        room: Of each row, as much as it has values at least. (n,) int64

    Returns:
        (n, columns)

    Example:
        >>> fair_shares(np.array([[9, 2, 8], [1, 2, 3]]), np.array([11, 20])).tolist()
        [[5, 2, 4], [1, 2, 3]]
    """
    rows, columns = lengths.shape
    ordered = np.sort(lengths, axis=1)
    before = np.cumsum(ordered, axis=1) - ordered
    # were the n-th shortest value and all longer ones cut alike, each would have so much
    each = (room[:, None] - before) // (columns - np.arange(columns))
    cut = ordered > each  # from the first of them on, all are
    level = np.where(cut.any(axis=1), each[np.arange(rows), cut.argmax(axis=1)], ordered[:, -1])
    kept = np.minimum(lengths, level[:, None])
    longer = lengths > kept
    over = room - kept.sum(axis=1)  # less than the number of values that are cut
    return kept + (longer & (np.cumsum(longer, axis=1) <= over[:, None]))
