"""A pair of records read apart: a language model makes a vector of each, and both vectors are compared.

As Sentence-BERT compares texts (Reimers and Gurevych, EMNLP 2019; arXiv 1908.10084, section 3) and R-SupCon records
(Peeters and Bizer, 'Supervised Contrastive Learning for Product Matching', WWW 2022; arXiv 2202.02098, section 2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from recsys.matching.ditto import DittoMatcher, compared, computed
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader, ToldPairs
from recsys.matching.serialise import SequencesApart, Written
from recsys.matching.words import ToldRecords
from recsys.text_encoders.encoder import TextEncoder

#: records that are serialised and sorted by length at a time
_RECORDS = 8192


class SiameseMatcher(DittoMatcher):
    """The log-odds of pairs of records that are read apart: of (u, v, |u - v|, u * v)."""

    @property
    def parts(self) -> int:
        """(u, v, |u - v|, u * v)"""
        return 4

    def vectors(self, pairs: Written) -> Tensor:
        """B pairs -> (B, 4 H)"""
        assert isinstance(pairs, SequencesApart)
        return compared(self.encode(pairs.left), self.encode(pairs.right))

    def judging(self, reader: PairReader, told: ToldPairs) -> Callable[[slice], np.ndarray]:
        """What judges some of many pairs, by their places: each record that is in any of them is read now, once."""
        left, right = record_vectors(self, reader, told)

        @torch.inference_mode()
        def judged(places: slice) -> np.ndarray:
            sides = ((left, told.pairs.left_rows), (right, told.pairs.right_rows))
            one, other = (
                torch.from_numpy(vectors[rows[places]]).to(self.head.weight.device) for vectors, rows in sides
            )
            orders = [(one, other), (other, one)] if self.config.both_orders else [(one, other)]
            return torch.stack([self.judge(compared(*each)) for each in orders]).mean(dim=0).float().cpu().numpy()

        return judged


def record_vectors(matcher: DittoMatcher, reader: PairReader, told: ToldPairs) -> tuple[np.ndarray, np.ndarray]:
    """What a matcher's language model makes of the records of both tables, each by itself. (n, H), (n', H) float32"""
    left = vectors_alone(matcher, reader, told.left)
    return left, left if told.right is told.left else vectors_alone(matcher, reader, told.right)


@torch.inference_mode()
def vectors_alone(matcher: DittoMatcher, reader: PairReader, records: ToldRecords) -> np.ndarray:
    """What a matcher's language model makes of records, each by itself. (n, H) float32"""
    width = matcher.encoder.model.config.get_text_config().hidden_size
    vectors = np.zeros((len(records), width), np.float32)
    for start in range(0, len(records), _RECORDS):
        some = range(start, min(start + _RECORDS, len(records)))
        written = reader.write.alone([records.record(row) for row in some])
        vectors[start : some.stop] = computed(matcher, written, matcher.encode)
    return vectors


def make_matcher(config: DittoConfig, encoder: TextEncoder) -> DittoMatcher:
    """The matcher that a configuration describes, of first weights besides the language model's.

    Raises:
        InputError: A language model that cannot be used.
    """
    return (SiameseMatcher if config.reads == "apart" else DittoMatcher)(config, encoder)
