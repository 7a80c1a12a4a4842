"""What is left when a language model has learned: what trees add, what log-odds are worth, what the threshold is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from recsys.matching.calibration import Isotonic, Scaling, fit_calibration
from recsys.matching.overlap import Overlap
from recsys.matching.overlap_judge import OverlapJudge
from recsys.matching.pair_reader import PairReader, ToldPairs
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


def conclude(
    config: MatchTrainConfig,
    reader: PairReader,
    data: LabelledPairs,
    validation: ToldPairs,
    stated: np.ndarray,
    say: Callable[[str], None] = lambda line: None,
) -> Conclusion:
    """Draws it; test is not read.

    Args:
        config: The run's configuration.
        reader: Of the matcher.
        data: Pairs with labels.
        validation: The validation pairs, as it reads them. (m pairs)
        stated: What the language model says of the validation pairs, as log-odds. (m,)
        say: Called with a line whenever a stage begins.
    """
    labels = data.validation.labels
    assert labels is not None  # as of all of `data`
    overlap, together = None, stated.astype(np.float64)
    if config.model.compares:
        say("learning what records share and lack")
        judge = second_opinion(reader, data.train, config.seed, config.model.both_orders)
        said = np.concatenate([judge.log_odds(some) for some in validation.lists()])
        overlap, together = judge.stacked(stated, said, labels)
    calibration = fit_calibration(config.calibration, together, labels)
    return Conclusion(overlap, together, calibration, best_f1(calibration(together), labels).threshold)


def second_opinion(reader: PairReader, pairs: RecordPairs, seed: int = 0, both_orders: bool = False) -> OverlapJudge:
    """What boosted trees learn from pairs with labels, or with chances; both opinions count alike.

    Args:
        reader: Of the matcher.
        pairs: To learn from. (m pairs)
        seed: Of the draws.
        both_orders: See `recsys.matching.overlap_judge.OverlapJudge`.
    """
    told = reader.pairs(pairs)
    overlap = Overlap.of(reader.attributes, dict.fromkeys((told.left, told.right)))
    targets = pairs.labels if pairs.chances is None else pairs.chances
    assert targets is not None
    return OverlapJudge.fit(overlap, told.lists(), targets, seed, both_orders)
