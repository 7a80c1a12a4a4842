"""What a matcher says of pairs: log-odds, probabilities, decisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.matching.calibration import probabilities


@dataclass(frozen=True, eq=False)
class Scores:
    """What a matcher says of m pairs.

    Args:
        log_odds: Calibrated. (m,) float64
        threshold: From which on a pair counts as the same.
    """

    log_odds: np.ndarray
    threshold: float

    @property
    def least_probability(self) -> float:
        """The threshold as a probability."""
        return float(probabilities(np.array(self.threshold)))

    @property
    def probabilities(self) -> np.ndarray:
        """That both records are the same thing. (m,) float64"""
        return probabilities(self.log_odds)

    @property
    def same(self) -> np.ndarray:
        """What is decided. (m,) bool"""
        return self.log_odds >= self.threshold

    def frame(self) -> pl.DataFrame:
        """Columns probability, log_odds and same. (m rows)"""
        return pl.DataFrame({"probability": self.probabilities, "log_odds": self.log_odds, "same": self.same})
