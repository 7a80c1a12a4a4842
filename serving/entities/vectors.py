"""Vectors of records by a language model as it comes, or by a matcher that reads records apart."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from features.errors import InputError
from features.records import Records
from recsys.blocking.terms import texts_of
from recsys.matching.siamese import SiameseMatcher, vectors_alone
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.loading import load_encoder
from serving.matching.matcher import Matcher


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


class MatcherEncoder:
    """What a matcher that reads records apart makes of each: it was trained so that the same things are near.

    Args:
        matcher: Which.

    Raises:
        InputError: It reads records together.
    """

    def __init__(self, matcher: Matcher) -> None:
        if not isinstance(matcher.model, SiameseMatcher):
            raise InputError(f"{matcher.resolved.name} reads records together, and has no vectors of single ones")
        self._matcher = matcher

    def __call__(self, records: Records) -> np.ndarray:
        """The vectors of some records. (n, H) float32"""
        reader = self._matcher.reader
        return vectors_alone(self._matcher.model, reader, reader.read(records.values))
