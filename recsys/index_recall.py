"""What an index finds of what there is to be found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch  # noqa: F401  before faiss: see index_kinds

import faiss  # isort: skip

from recsys.index_kinds import IndexConfig


def measured_recall(
    search: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
    vectors: np.ndarray,
    queries: np.ndarray,
    config: IndexConfig,
) -> float:
    """Share of the exact top K that a search finds.

    Args:
        search: Gives scores and item rows of queries.
        vectors: As they were given to the index. (N, D)
        queries: Some of them are asked. (B, D)
        config: Says how many, and K.
    """
    if len(queries) > config.recall_queries:
        chosen = np.random.default_rng(0).choice(len(queries), config.recall_queries, replace=False)
        queries = queries[np.sort(chosen)]
    k = min(config.recall_at, len(vectors))
    _, exact = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    _, found = search(queries, k)
    offset = np.arange(len(queries))[:, None] * len(vectors)  # so that one query's items are not another's
    return float(np.isin(exact + offset, found + offset).mean()) if len(queries) else 1.0
