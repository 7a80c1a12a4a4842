"""Baselines that every result is shown beside: from what most people like to what goes with the items of a history.

They have one contract: `fit`, then `scores(histories, items)`, or `scorer(histories)` for `recsys.top_k.full_ranking`.
Items already seen are not removed here; the ranking does that.
"""

from recsys.baselines.baseline import Baseline
from recsys.baselines.content_knn import ContentKNN, ContentKNNConfig
from recsys.baselines.ease import EASE, EASEConfig
from recsys.baselines.item_knn import ItemKNN, ItemKNNConfig
from recsys.baselines.popularity import Popularity
from recsys.baselines.vector_knn import VectorKNN, VectorKNNConfig

__all__ = [
    "EASE",
    "Baseline",
    "ContentKNN",
    "ContentKNNConfig",
    "EASEConfig",
    "ItemKNN",
    "ItemKNNConfig",
    "Popularity",
    "VectorKNN",
    "VectorKNNConfig",
]
