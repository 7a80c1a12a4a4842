"""The fit of an entity matcher: the best epoch, the calibration and the threshold on validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import torch

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from recsys.matching.ditto import log_odds
from recsys.matching.knowledge import Knowledge
from recsys.matching.pair_reader import PairReader
from recsys.matching.siamese import make_matcher
from recsys.matching.summarise import word_weights
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.loading import load_encoder, precision_of
from serving.matching.writer import Fitted
from training.callbacks import AverageWeights
from training.fit import fit_module
from training.fit_options import OtherFitOptions
from training.matching.conclusion import conclude
from training.matching.config import MatchTrainConfig
from training.matching.contrast import pretrain
from training.matching.figures import figures_of
from training.matching.module import MONITOR, MatcherTraining
from training.matching.pair_batches import PairData


@dataclass(frozen=True, eq=False)
class TrainedMatcher:
    """A matcher that has been trained, with all that was chosen on validation.

    Args:
        fitted: What a bundle is made of, with the weights of the best epoch.
        best_epoch: Counted from 1.
        validation: Figures of the validation pairs, by which the epoch, the calibration and the threshold were chosen,
            so that they are better than those of other pairs.
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
    reader, weights = reader_of(config, data, encoder)
    torch.manual_seed(config.seed)
    matcher = make_matcher(config.model, encoder)
    if config.contrast.epochs:
        pretrain(config, matcher, reader, data, folder / "checkpoints" / "contrast", say, **options)
        matcher.encoder.requires_grad_(not config.contrast.freeze)
    labels = data.train.labels
    assert labels is not None  # as of all of `data`
    what = "training the language model" if config.model.compares else "training"
    say(f"{what} on {len(labels):,} pairs, {int(labels.sum()):,} of them the same")
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
    validation = reader.pairs(data.validation)
    found = conclude(config, reader, data, validation, log_odds(matcher, reader, validation), say)
    matcher.overlap = found.overlap
    labels = data.validation.labels
    assert labels is not None
    figures = figures_of(found.worth, labels, found.threshold)
    if found.overlap is not None:
        say(f"validation F1 of both together {figures['f1']:.4f}")
    fitted = Fitted(matcher, reader.attributes, found.calibration, found.threshold, found.log_odds, labels, weights)
    return TrainedMatcher(fitted, outcome.best_epoch, figures)


def reader_of(
    config: MatchTrainConfig, data: LabelledPairs, encoder: TextEncoder
) -> tuple[PairReader, tuple[dict[str, float], float] | None]:
    """What reads records for a matcher, and what words weigh for it, where values are summarised."""
    weights = word_weights(_told_values(config, data)) if config.model.summarise else None
    return PairReader(config.model, data.train.left.attributes, encoder, weights), weights


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
