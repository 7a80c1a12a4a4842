"""Calibrated log-odds: better probabilities in the same order, whatever the numbers are."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from features.errors import InputError
from recsys.auc import log_loss
from recsys.matching.calibration import (
    CALIBRATIONS,
    calibration_error,
    calibration_from_json,
    calibration_to_json,
    fit_calibration,
    probabilities,
    reliability,
)

KINDS = tuple(kind for kind in CALIBRATIONS if kind != "none")


def pairs(n: int, scale: float, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stated log-odds whose true ones are `scale` times as large, plus `shift`."""
    random = np.random.default_rng(seed)
    stated = random.normal(0, 6, n)
    return stated, random.random(n) < expit(stated * scale + shift)


@pytest.mark.parametrize(
    ("kind", "shift"), [("temperature", 0.0), ("platt", -1.5), ("isotonic", 0.0), ("isotonic", -1.5)]
)
def test_what_was_learned_holds_for_other_pairs(kind: str, shift: float) -> None:
    calibration = fit_calibration(kind, *pairs(4000, 0.3, shift))
    stated, labels = pairs(20_000, 0.3, shift, seed=1)
    before, after = calibration_error(expit(stated), labels), calibration_error(expit(calibration(stated)), labels)
    assert before > 0.1 and after < 0.025
    assert log_loss(labels, calibration(stated)) < log_loss(labels, stated)


def test_the_numbers_are_found_again() -> None:
    found = fit_calibration("platt", *pairs(100_000, 0.3, -1.5))
    assert (found.scale, found.shift) == (pytest.approx(0.3, rel=0.03), pytest.approx(-1.5, rel=0.03))
    assert fit_calibration("temperature", *pairs(100_000, 0.3, 0.0)).scale == pytest.approx(0.3, rel=0.03)
    assert fit_calibration("none", *pairs(100, 0.3, 0.0))(np.array([2.0])).tolist() == [2.0]


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.lists(st.tuples(st.floats(-1e4, 1e4), st.booleans()), min_size=2, max_size=40).filter(
        lambda pairs: len({label for _, label in pairs}) == 2
    )
)
def test_no_order_changes_and_nothing_is_certain(kind: str, pairs) -> None:
    scores, labels = (np.array(one) for one in zip(*pairs, strict=True))
    calibration = fit_calibration(kind, scores, labels)
    asked = np.sort(np.concatenate([scores, [-1e5, 0, 1e5]]))
    worth = calibration(asked)
    assert np.isfinite(worth).all() and (np.diff(worth) >= 0).all()
    if kind == "isotonic":
        assert (probabilities(worth) > 0).all() and (probabilities(worth) < 1).all()
    again = calibration_from_json(json.loads(json.dumps(calibration_to_json(calibration))))
    assert again == calibration


def test_rounding_changes_no_order() -> None:
    scores, labels = np.array([0.0, 8.281807221926092e-239, -2.1225602132996893e-122]), np.array([True, True, False])
    worth = fit_calibration("isotonic", scores, labels)(np.sort(np.concatenate([scores, [-1.0, 1.0]])))
    assert (np.diff(worth) >= 0).all()


def test_isotonic_steps_are_the_shares() -> None:
    scores = np.repeat([-2.0, 0.0, 1.0, 3.0], 1000)
    labels = np.concatenate([np.arange(1000) < n for n in (100, 500, 400, 900)])
    worth = probabilities(fit_calibration("isotonic", scores, labels)(np.array([-9, -2.0, 0.5, 3.0, 9])))
    assert worth == pytest.approx([0.1, 0.1, 0.45, 0.9, 0.9], abs=2e-3)


def test_errors_are_the_mean_over_bins() -> None:
    chances = np.array([0.0, 0.04, 1.0, 0.95, 0.5])
    labels = np.array([False, True, True, True, False])
    assert reliability(chances, labels, bins=10) == [
        (pytest.approx(0.02), 0.5, 2),
        (0.5, 0.0, 1),
        (pytest.approx(0.975), 1.0, 2),
    ]
    assert calibration_error(chances, labels, bins=10) == pytest.approx((2 * 0.48 + 0.5 + 2 * 0.025) / 5)


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("beta", [True, False], "calibration is 'beta', not one of none, temperature"),
        ("platt", [True, True], "all 2 are the same"),
        ("isotonic", [False, False], "all 2 are different"),
    ],
)
def test_what_cannot_be_fitted_is_told(kind: str, labels: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_calibration(kind, np.array([0.0, 1.0]), np.array(labels))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "scaling", "scale": 1.0},
        {"kind": "scaling", "scale": "x", "shift": 0.0},
        {"kind": "isotonic", "at": [1.0, 0.0], "worth": [0.0, 1.0]},
        {"kind": "isotonic", "at": [1.0], "worth": [0.0, 1.0]},
        {"kind": "beta"},
    ],
    ids=str,
)
def test_what_is_no_calibration_is_refused(data: dict) -> None:
    with pytest.raises(InputError, match="calibration"):
        calibration_from_json(data)
