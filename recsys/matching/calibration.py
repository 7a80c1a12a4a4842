"""Probabilities that mean what they say: of the pairs that are given .9, nine in ten are the same thing.

A matcher's log-odds order pairs well and are too sure of themselves; what they are worth is learned on validation data.
All calibrations leave the order as it is.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from features.errors import InputError

CALIBRATIONS = ("none", "temperature", "platt", "isotonic")


class Calibration(Protocol):
    """From a matcher's log-odds to calibrated ones."""

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        """(n,) -> (n,)"""
        ...


@dataclass(frozen=True)
class Scaling:
    """Log-odds times a number, plus another.

    Args:
        scale: Above 0; the inverse of a temperature.
        shift: Added.
    """

    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        """(n,) -> (n,)"""
        return log_odds * self.scale + self.shift


@dataclass(frozen=True)
class Isotonic:
    """Straight lines between points that rise.

    Args:
        at: Log-odds of the points, ascending. (m,)
        worth: What they are worth, ascending; beyond the first and the last it stays so. (m,)
    """

    at: tuple[float, ...]
    worth: tuple[float, ...]

    def __call__(self, log_odds: np.ndarray) -> np.ndarray:
        """(n,) -> (n,)"""
        worth = np.array(self.worth)
        # what rounding puts beyond the ends of a line would change the order of pairs
        after = np.searchsorted(self.at, log_odds, side="right").clip(max=len(worth) - 1)
        return np.interp(log_odds, self.at, worth).clip(worth[np.maximum(after - 1, 0)], worth[after])


def fit_calibration(
    kind: Literal["none", "temperature", "platt", "isotonic"], log_odds: np.ndarray, labels: np.ndarray
) -> Scaling | Isotonic:
    """Learns what log-odds are worth.

    Labels count as a little less than certain, by how many there are (Platt, 1999), so that nothing becomes 0 or 1.

    Args:
        kind: "temperature" (one number; Guo et al., ICML 2017), "platt" (two), "isotonic" (as many steps as the data
            ask for; Zadrozny and Elkan, KDD 2002), or "none".
        log_odds: Of validation pairs. (n,)
        labels: Whether they are the same. (n,) bool

    Raises:
        InputError: There is no such kind, or pairs of one label alone.

    Example:
        >>> sure = np.array([-8.0, -8, -8, -8, 8, 8, 8, 8])
        >>> right = np.array([0, 0, 0, 1, 1, 1, 1, 0], dtype=bool)
        >>> fit_calibration("temperature", sure, right).scale < 0.2
        True
    """
    if kind not in CALIBRATIONS:
        raise InputError(f"calibration is {kind!r}, not one of {', '.join(CALIBRATIONS)}")
    if kind == "none":
        return Scaling()
    log_odds, labels = np.asarray(log_odds, np.float64), np.asarray(labels, bool)
    same = int(labels.sum())
    if not 0 < same < len(labels):
        which = "the same" if same else "different"
        raise InputError(f"calibration needs pairs that are the same and others, and all {len(labels):,} are {which}")
    targets = np.where(labels, (same + 1) / (same + 2), 1 / (len(labels) - same + 2))
    if kind == "isotonic":
        return _isotonic(log_odds, targets)
    # a scale is searched for by its logarithm, so that it stays above 0; log-odds of thousands are brought near first
    spread = max(float(np.abs(log_odds).max()), 1.0)
    start = np.zeros(1 if kind == "temperature" else 2)

    def loss(numbers: np.ndarray) -> float:
        scaled = log_odds / spread * np.exp(numbers[0]) + (numbers[1] if len(numbers) > 1 else 0.0)
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 2000}).x
    return Scaling(float(np.exp(found[0]) / spread), float(found[1]) if len(found) > 1 else 0.0)


def probabilities(log_odds: np.ndarray) -> np.ndarray:
    """(n,) -> (n,), in [0, 1]"""
    return expit(log_odds)


def calibration_to_json(calibration: Scaling | Isotonic) -> dict[str, Any]:
    """As plain numbers and lists; see `calibration_from_json`."""
    return {"kind": type(calibration).__name__.lower(), **asdict(calibration)}


def calibration_from_json(data: dict[str, Any]) -> Scaling | Isotonic:
    """The inverse of `calibration_to_json`.

    Raises:
        InputError: Something else.
    """
    try:
        if data["kind"] == "isotonic":
            at, worth = tuple(map(float, data["at"])), tuple(map(float, data["worth"]))
            if len(at) != len(worth) or not at or not np.isfinite([*at, *worth]).all():
                raise InputError("the calibration's points are not pairs of numbers")
            if np.any(np.diff(at) < 0) or np.any(np.diff(worth) < 0):
                raise InputError("the calibration's points do not rise")
            return Isotonic(at, worth)
        if data["kind"] == "scaling":
            scale, shift = float(data["scale"]), float(data["shift"])
            if not (0 < scale < math.inf and math.isfinite(shift)):
                raise InputError(f"the calibration's scale is above 0, and its shift a number, got {scale} and {shift}")
            return Scaling(scale, shift)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
    raise InputError(f"this is no calibration: {str(data)[:80]}")


def calibration_error(chances: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: by how much stated chances and shares differ, the mean over bins of equal width.

    Args:
        chances: Stated. (n,)
        labels: What was the case. (n,) bool
        bins: Over [0, 1] (Guo et al., ICML 2017, section 2, have 15).

    Example:
        >>> round(calibration_error(np.array([0.9, 0.9, 0.1, 0.1]), np.array([1, 0, 0, 0], dtype=bool)), 3)
        0.25
    """
    return float(sum(n * abs(stated - share) for stated, share, n in reliability(chances, labels, bins)) / len(labels))


def reliability(chances: np.ndarray, labels: np.ndarray, bins: int = 15) -> list[tuple[float, float, int]]:
    """For each bin that is not empty: the mean chance that was stated, the share that was so, and their number."""
    place = np.minimum((np.asarray(chances) * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    stated, share = (np.bincount(place, one, bins) for one in (chances, np.asarray(labels, np.float64)))
    return [(stated[n] / counts[n], share[n] / counts[n], int(counts[n])) for n in np.flatnonzero(counts)]


def _isotonic(log_odds: np.ndarray, targets: np.ndarray) -> Isotonic:
    at, place, weights = np.unique(log_odds, return_inverse=True, return_counts=True)
    worth = isotonic_regression(np.bincount(place, targets) / weights, weights=weights).x
    # each step is a point: where its pairs lie in the middle
    steps = np.concatenate([[0], np.cumsum(np.diff(worth) > 1e-12)])
    size = np.bincount(steps, weights)
    middle = np.bincount(steps, at * weights) / size
    height = logit(np.bincount(steps, worth * weights) / size)
    return Isotonic(tuple(middle.tolist()), tuple(height.tolist()))
