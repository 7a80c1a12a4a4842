"""What is left when a language model has learned: what trees add, what log-odds are worth, what the threshold is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.labelled_pairs import LabelledPairs
from recsys.matching.calibration import Isotonic, Scaling, fit_calibration
from recsys.matching.overlap import Overlap
from recsys.matching.overlap_judge import OverlapJudge
from recsys.matching.pair_reader import PairReader
from recsys.matching.thresholds import best_f1
from training.matching.config import MatchTrainConfig


@dataclass(frozen=True, eq=False)
class Conclusion:
    """What follows from the training pairs for trees, and from the validation pairs for all else.

    Args:
        overlap: The second opinion, if there is one.
        log_odds: Of the validation pairs before calibration, joined by weights that have not seen their labels. (m,)
        calibration: What log-odds are worth.
        threshold: Of calibrated log-odds, for the best F1.
    """

    overlap: OverlapJudge | None
    log_odds: np.ndarray
    calibration: Scaling | Isotonic
    threshold: float

    @property
    def worth(self) -> np.ndarray:
        """The validation pairs' log-odds, calibrated. (m,)"""
        return self.calibration(self.log_odds)

    def joined(self, stated: np.ndarray, said: np.ndarray | None) -> np.ndarray:
        """Both opinions together, before calibration. (m,), (m,) -> (m,) float64"""
        if self.overlap is None or said is None:
            return stated.astype(np.float64)
        return self.overlap.joined(stated, said)


def conclude(
    config: MatchTrainConfig,
    reader: PairReader,
    data: LabelledPairs,
    stated: np.ndarray,
    say: Callable[[str], None] = lambda line: None,
) -> Conclusion:
    """Draws it; test is not read.

    Args:
        config: The run's configuration.
        reader: Of the matcher.
        data: Pairs with labels.
        stated: What the language model says of the validation pairs, as log-odds. (m,)
        say: Called with a line whenever a stage begins.
    """
    labels = data.validation.labels
    assert labels is not None  # as of all of `data`
    overlap, together = None, stated.astype(np.float64)
    if config.model.compares:
        say("learning what records share and lack")
        judge = second_opinion(config, reader, data)
        validation = reader.pairs(data.validation)
        said = np.concatenate([judge.log_odds(validation.take(part)) for part in validation.parts()])
        overlap, together = judge.weighed(stated, said, labels)
    calibration = fit_calibration(config.calibration, together, labels)
    return Conclusion(overlap, together, calibration, best_f1(calibration(together), labels).threshold)


def second_opinion(config: MatchTrainConfig, reader: PairReader, data: LabelledPairs) -> OverlapJudge:
    """What boosted trees learn from the training pairs; both opinions count alike."""
    train = reader.pairs(data.train)
    overlap = Overlap.of(reader.attributes, dict.fromkeys((train.left, train.right)))
    targets = data.train.labels if data.train.chances is None else data.train.chances
    assert targets is not None
    pairs = (train.take(part) for part in train.parts())
    return OverlapJudge.fit(overlap, pairs, targets, config.seed, config.model.both_orders)
