"""kNN-Embed: people as mixtures of interests, each of which asks the index for its share (arXiv 2205.06205)."""

from recsys.interests.allocation import largest_remainder
from recsys.interests.clusters import Clusters, ClustersConfig
from recsys.interests.config import KINDS, InterestsConfig, RetrieverKind
from recsys.interests.knn_embed import KNNEmbed
from recsys.interests.mixtures import Mixtures, mixtures_of
from recsys.interests.neighbours import SimilarUsers
from recsys.interests.retrieval import Retrieved, retrieve

__all__ = [
    "KINDS",
    "Clusters",
    "ClustersConfig",
    "InterestsConfig",
    "KNNEmbed",
    "Mixtures",
    "Retrieved",
    "RetrieverKind",
    "SimilarUsers",
    "largest_remainder",
    "mixtures_of",
    "retrieve",
]
