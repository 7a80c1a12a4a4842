"""The training of an entity matcher, whole: fit, the best epoch on validation, threshold, calibration, figures."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from features.errors import InputError
from features.record_pairs import LabelledPairs, RecordPairs
from recsys.auc import roc_auc
from recsys.matching.calibration import Calibration, calibration_error, fit_calibration, probabilities
from recsys.matching.ditto import DittoMatcher, PairReader, log_odds
from recsys.matching.knowledge import Knowledge
from recsys.matching.summarise import word_weights
from recsys.matching.thresholds import best_f1, decide
from recsys.text_encoders.loading import load_encoder
from training.fit import FitOptions, fit_module
from training.matching import MONITOR, MatcherTraining
from training.matching_config import MatchTrainConfig
from training.pair_batches import PairData


@dataclass(frozen=True, eq=False)
class TrainedMatcher:
    """A matcher that has been trained, with all that was chosen on validation.

    Args:
        matcher: In evaluation mode, with the weights of the best epoch.
        reader: Its own.
        calibration: What its log-odds are worth.
        threshold: From which calibrated log-odds on a pair is the same, for the best F1.
        figures: Of validation and test.
    """

    matcher: DittoMatcher
    reader: PairReader
    calibration: Calibration
    threshold: float
    figures: dict[str, Any]


def train_matcher(
    config: MatchTrainConfig,
    data: LabelledPairs,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
    **options: Unpack[FitOptions],
) -> TrainedMatcher:
    """Trains a matcher, once.

    Args:
        config: The run's configuration.
        data: Pairs with labels; test is read once, in the end.
        folder: Where checkpoints go.
        say: Called with a line whenever a stage begins.
        options: As `training.fit.fit_module` takes them.

    Raises:
        InputError: Pairs that nothing can be learned from or chosen by, or a language model that cannot be used.
    """
    began = time.perf_counter()
    _check(data)
    # steps are too small for the numbers of bf16
    encoder = load_encoder(dataclasses.replace(config.model.encoder, precision="fp32"))
    attributes = data.train.left.attributes
    weights = word_weights(_told_values(config, data)) if config.model.summarise else None
    reader = PairReader(config.model, attributes, encoder, weights)
    torch.manual_seed(config.seed)
    matcher = DittoMatcher(config.model, encoder)
    say(f"training on {len(data.train):,} pairs, {int(data.train.labels.sum()):,} of them the same")
    outcome = fit_module(
        MatcherTraining(config, matcher, reader, data.validation),
        PairData(data.train, reader, config),
        config.optimiser,
        folder / "checkpoints",
        monitor=MONITOR,
        batch_size=config.batch_size,
        seed=config.seed,
        say=say,
        **options,
    )
    matcher.load_state_dict(outcome.weights)
    matcher.eval()
    say("choosing the threshold on validation, and measuring on the test part")
    stated = log_odds(matcher, reader, data.validation)
    calibration = fit_calibration(config.calibration, stated, data.validation.labels)
    threshold = best_f1(calibration(stated), data.validation.labels).threshold
    figures = {
        "seconds_to_fit": time.perf_counter() - began,
        "best_epoch": outcome.best_epoch,
        **_figures("validation_", calibration, threshold, stated, data.validation),
        **_figures("", calibration, threshold, log_odds(matcher, reader, data.test), data.test),
    }
    return TrainedMatcher(matcher, reader, calibration, threshold, figures)


def _figures(
    prefix: str, calibration: Calibration, threshold: float, stated: np.ndarray, pairs: RecordPairs
) -> dict[str, float]:
    worth = calibration(stated)
    decision = decide(worth, pairs.labels, threshold)
    found = {
        **{name: getattr(decision, name) for name in ("f1", "precision", "recall")},
        "auc": roc_auc(pairs.labels, stated),
        "calibration_error": calibration_error(probabilities(worth), pairs.labels),
        "uncalibrated_error": calibration_error(probabilities(stated), pairs.labels),
    }
    return {f"{prefix}{name}": one for name, one in found.items()}


def _told_values(config: MatchTrainConfig, data: LabelledPairs) -> list:
    """Both tables as the matcher is told of them."""
    knowledge = Knowledge(config.model.knowledge)
    return [knowledge.all_told(one.values) for one in (data.train.left, data.train.right)]


def _check(data: LabelledPairs) -> None:
    for part in ("train", "validation"):
        labels = data.parts[part].labels
        if labels.all() or not labels.any():
            which = "the same" if labels.all() else "different"
            raise InputError(
                f"all {len(labels):,} pairs for {part} of {data.name} are labelled {which}; some of both are needed"
            )
