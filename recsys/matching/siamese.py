"""A pair of records read apart: a language model makes a vector of each, and both vectors are compared.

As Sentence-BERT compares texts (Reimers and Gurevych, EMNLP 2019; arXiv 1908.10084, section 3) and R-SupCon records
(Peeters and Bizer, 'Supervised Contrastive Learning for Product Matching', WWW 2022; arXiv 2202.02098, section 2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from recsys.matching.ditto import DittoMatcher, computed
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader, ToldPairs
from recsys.matching.serialise import SequencesApart
from recsys.matching.words import ToldRecords
from recsys.text_encoders.encoder import TextEncoder

#: records that are serialised and sorted by length at a time
_RECORDS = 8192


class SiameseMatcher(DittoMatcher):
    """The log-odds of pairs of records that are read apart: of (u, v, |u - v|, u * v)."""

    parts = 4

    def vectors(self, pairs: SequencesApart) -> Tensor:
        """B pairs -> (B, 4 H)"""
        return _compared(self.encode(pairs.left), self.encode(pairs.right))

    def judging(self, reader: PairReader, told: ToldPairs) -> Callable[[slice], np.ndarray]:
        """What judges some of many pairs, by their places: each record that is in any of them is read now, once."""
        pairs = told.pairs
        left, right = (
            self._read(reader, records, rows)
            for records, rows in ((told.left, pairs.left_rows), (told.right, pairs.right_rows))
        )

        @torch.inference_mode()
        def judged(places: slice) -> np.ndarray:
            sides = ((left, pairs.left_rows), (right, pairs.right_rows))
            one, other = (
                torch.from_numpy(vectors[np.searchsorted(rows, asked[places])]).to(self.head.weight.device)
                for (rows, vectors), asked in sides
            )
            return self.judge(_compared(one, other)).float().cpu().numpy()

        return judged

    @torch.inference_mode()
    def _read(self, reader: PairReader, records: ToldRecords, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The different rows, ascending, and the vectors of their records. (m,) -> (n,), (n, H)"""
        different = np.unique(rows)
        width = self.encoder.model.config.get_text_config().hidden_size
        vectors = np.zeros((len(different), width), np.float32)
        for start in range(0, len(different), _RECORDS):
            some = different[start : start + _RECORDS]
            written = reader.write.alone([records.record(row) for row in some.tolist()])
            vectors[start : start + len(some)] = computed(self, written, self.encode)
        return different, vectors


def make_matcher(config: DittoConfig, encoder: TextEncoder) -> DittoMatcher:
    """The matcher that a configuration describes, of first weights besides the language model's.

    Raises:
        InputError: A language model that cannot be used.
    """
    return (SiameseMatcher if config.reads == "apart" else DittoMatcher)(config, encoder)


def _compared(one: Tensor, other: Tensor) -> Tensor:
    """(B, H), (B, H) -> (B, 4 H)"""
    return torch.cat([one, other, (one - other).abs(), one * other], dim=1)
