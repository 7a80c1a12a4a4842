"""Which feature uses which table, and the look-ups themselves."""

from recsys.embeddings.layout import Layout, TableShape
from recsys.embeddings.lookups import Embeddings
from recsys.embeddings.plan import EmbeddingPlan, FeatureLookup

__all__ = ["EmbeddingPlan", "Embeddings", "FeatureLookup", "Layout", "TableShape"]
