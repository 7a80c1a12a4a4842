"""The fit of an entity matcher: the best epoch, the calibration and the threshold on validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from recsys.auc import roc_auc
from recsys.matching.calibration import calibration_error, fit_calibration, probabilities
from recsys.matching.ditto import log_odds
from recsys.matching.knowledge import Knowledge
from recsys.matching.overlap import Overlap
from recsys.matching.overlap_judge import OverlapJudge
from recsys.matching.pair_reader import PairReader, ToldPairs
from recsys.matching.siamese import make_matcher
from recsys.matching.summarise import word_weights
from recsys.matching.thresholds import best_f1, decide
from recsys.text_encoders.loading import load_encoder, precision_of
from serving.matching.writer import Fitted
from training.callbacks import AverageWeights
from training.fit import fit_module
from training.fit_options import OtherFitOptions
from training.matching.config import MatchTrainConfig
from training.matching.contrast import pretrain
from training.matching.module import MONITOR, MatcherTraining
from training.matching.pair_batches import PairData


@dataclass(frozen=True, eq=False)
class TrainedMatcher:
    """A matcher that has been trained, with all that was chosen on validation.

    Args:
        fitted: What a bundle is made of, with the weights of the best epoch.
        best_epoch: Counted from 1.
        validation: Figures of the validation pairs, by which the epoch, the calibration and the threshold were chosen.
    """

    fitted: Fitted
    best_epoch: int
    validation: dict[str, float]


def fit_matcher(
    config: MatchTrainConfig,
    data: LabelledPairs,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
    **options: Unpack[OtherFitOptions],
) -> TrainedMatcher:
    """Trains a matcher, once; test is not read.

    Args:
        config: The run's configuration.
        data: Pairs with labels.
        folder: Where checkpoints go.
        say: Called with a line whenever a stage begins.
        options: As `training.fit.fit_module` takes them.

    Raises:
        InputError: Pairs that nothing can be learned from or chosen by, or a language model that cannot be used.
    """
    check_labels(data)
    # steps are too small for the numbers of bf16
    encoder = load_encoder(dataclasses.replace(config.model.encoder, precision="fp32"))
    attributes = data.train.left.attributes
    weights = word_weights(_told_values(config, data)) if config.model.summarise else None
    reader = PairReader(config.model, attributes, encoder, weights)
    torch.manual_seed(config.seed)
    matcher = make_matcher(config.model, encoder)
    if config.contrast.epochs:
        pretrain(config, matcher, reader, data, folder / "checkpoints" / "contrast", say, **options)
        matcher.encoder.requires_grad_(not config.contrast.freeze)
    labels = data.train.labels
    assert labels is not None  # as of all of `data`
    say(f"training on {len(labels):,} pairs, {int(labels.sum()):,} of them the same")
    batches = PairData(data.train, reader, config)
    if config.average_epochs:
        mean = AverageWeights(config.average_epochs * len(batches.train_dataloader()))
        options["callbacks"] = [*options.get("callbacks", ()), mean]
    outcome = fit_module(
        MatcherTraining(config, matcher, reader, data.validation),
        batches,
        config.optimiser,
        folder / "checkpoints",
        monitor=MONITOR,
        batch_size=config.batch_size,
        seed=config.seed,
        say=say,
        **options,
    )
    matcher.load_state_dict(outcome.weights)
    # as it will be served: what is calibrated is what is loaded
    # transformers' types lose what its method takes
    encoder.model.to(precision_of(config.model.encoder))  # type: ignore[arg-type]
    matcher.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    labels = data.validation.labels
    assert labels is not None
    validation = reader.pairs(data.validation)
    stated = log_odds(matcher, reader, validation)
    if config.model.overlap:
        say("learning what records share and lack")
        matcher.overlap = _second_opinion(config, reader, data, validation).weighed(
            stated, validation.take(slice(None)), labels
        )
        stated = matcher.overlap.joined(stated, validation.take(slice(None)))
    calibration = fit_calibration(config.calibration, stated, labels)
    worth = calibration(stated)
    threshold = best_f1(worth, labels).threshold
    fitted = Fitted(matcher, attributes, calibration, threshold, stated, labels, weights)
    return TrainedMatcher(fitted, outcome.best_epoch, figures_of(worth, labels, threshold))


def _second_opinion(
    config: MatchTrainConfig, reader: PairReader, data: LabelledPairs, validation: ToldPairs
) -> OverlapJudge:
    """What boosted trees learn from the training pairs; validation pairs only say what words are worth."""
    train = reader.pairs(data.train)
    tables = dict.fromkeys(table for told in (train, validation) for table in (told.left, told.right))
    overlap = Overlap.of(reader.attributes, tables)
    labels = data.train.labels
    assert labels is not None
    return OverlapJudge.fit(overlap, train.take(slice(None)), labels, config.seed, config.model.both_orders)


def figures_of(worth: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    """How well calibrated log-odds tell pairs apart, and how much they mean what they say.

    Args:
        worth: (m,)
        labels: (m,) bool
        threshold: From which on a pair counts as the same.
    """
    decision = decide(worth, labels, threshold)
    return {
        **{name: getattr(decision, name) for name in ("f1", "precision", "recall")},
        "auc": roc_auc(labels, worth),
        "calibration_error": calibration_error(probabilities(worth), labels),
    }


def _told_values(config: MatchTrainConfig, data: LabelledPairs) -> list:
    """Both tables as the matcher is told of them."""
    knowledge = Knowledge(config.model.knowledge)
    return [knowledge.all_told(one.values) for one in dict.fromkeys((data.train.left, data.train.right))]


def check_labels(data: LabelledPairs) -> None:
    """Refuses data that nothing can be learned from or chosen by.

    Raises:
        InputError: Names the part whose pairs all have one label.
    """
    for part, pairs in data.parts.items():
        labels = pairs.labels
        assert labels is not None
        if labels.all() or not labels.any():
            which = "the same" if labels.all() else "different"
            raise InputError(
                f"all {len(labels):,} pairs for {part} of {data.name} are labelled {which}; some of both are needed"
            )
