"""Pictures of runs, each of one idea: functions return a matplotlib figure, which a notebook shows and `saved` writes.

Colours are safe for the colour-blind, and points and lines have markers besides.
"""

from training.plots.calibration import reliability
from training.plots.embedding_map import embedding_map, placed
from training.plots.learning import learning_curves
from training.plots.pareto import pareto
from training.plots.quality import comparison, popularity_slices, recall_curves
from training.plots.style import saved

__all__ = [
    "comparison",
    "embedding_map",
    "learning_curves",
    "pareto",
    "placed",
    "popularity_slices",
    "recall_curves",
    "reliability",
    "saved",
]
