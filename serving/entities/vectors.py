"""Vectors of records by a language model, each different text read once."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from features.records import Records
from recsys.blocking.terms import texts_of
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.loading import load_encoder


class RecordEncoder:
    """What a bi-encoder makes of records: all that is told of one, as a text. What is told twice is read once.

    Args:
        config: Which language model.
    """

    def __init__(self, config: TextEncoderConfig | None = None) -> None:
        self._config = config or TextEncoderConfig()
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, records: Records) -> np.ndarray:
        """The vectors of some records. (n, D) float32"""
        texts = texts_of(records.values).to_list()
        new = [one for one in dict.fromkeys(texts) if one not in self._known]
        if new:
            self._known |= zip(new, self._encoder.encode(new), strict=True)
        return np.stack([self._known[one] for one in texts])

    @cached_property
    def _encoder(self) -> TextEncoder:
        return load_encoder(self._config)
