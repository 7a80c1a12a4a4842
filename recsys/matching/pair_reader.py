"""From records to what a matcher reads: words with what is known of them, and the tokens of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.knowledge import Knowledge
from recsys.matching.serialise import PairFrame, Serialiser
from recsys.matching.words import Told, ToldRecords
from recsys.text_encoders.encoder import TextEncoder

#: pairs that are written and sorted by length at a time
PAIRS = 8192


@dataclass(frozen=True, eq=False)
class ToldPairs:
    """Pairs of records as words.

    Args:
        pairs: Which they are, of tables without other records. (m pairs)
        left: The records of one of these tables.
        right: Those of the other one, or the same.
    """

    pairs: RecordPairs
    left: ToldRecords
    right: ToldRecords

    def parts(self) -> Iterator[slice]:
        """Places of all pairs, some after the others."""
        n = len(self.pairs)
        yield from (slice(start, min(start + PAIRS, n)) for start in range(0, n, PAIRS))

    def lists(self) -> Iterator[list[tuple[Told, Told]]]:
        """What is told of all pairs, some after the others."""
        yield from map(self.take, self.parts())

    def take(self, places: np.ndarray | slice) -> list[tuple[Told, Told]]:
        """What is told of some pairs, in the given order. (k,) -> (k,)"""
        rows = zip(self.pairs.left_rows[places].tolist(), self.pairs.right_rows[places].tolist(), strict=True)
        return [(self.left.record(left), self.right.record(right)) for left, right in rows]


class PairReader:
    """From records to what a matcher reads. Records are read once, and pairs of them written when they are needed.

    Args:
        config: Of the matcher.
        attributes: What is told of a record, in order.
        encoder: Its language model.
        weights: How much words say, and what a word says that is not among them, where summaries are wanted: see
            `recsys.matching.summarise.word_weights`.

    Raises:
        InputError: There is no room for a token of each attribute.
    """

    def __init__(
        self,
        config: DittoConfig,
        attributes: Sequence[str],
        encoder: TextEncoder,
        weights: tuple[dict[str, float], float] | None = None,
    ) -> None:
        self.attributes = list(attributes)
        self.max_tokens = config.max_tokens or min(encoder.max_tokens, 256)
        if self.max_tokens > encoder.max_tokens:
            raise InputError(
                f"model.max_tokens is {self.max_tokens}, and {config.encoder.model!r} takes {encoder.max_tokens}"
            )
        self._knowledge = Knowledge(config.knowledge)
        self._tokenizer, self._weights = encoder.tokenizer, weights if config.summarise else None
        names = self._tokens([f"COL {name.replace('_', ' ')} VAL" for name in self.attributes])
        self.write = Serialiser(
            names, PairFrame.of(encoder.tokenizer), self.max_tokens, config.summarise, config.reads == "apart"
        )

    def read(self, values: pl.DataFrame) -> ToldRecords:
        """Records as words.

        Args:
            values: A column an attribute. (n rows) String

        Raises:
            InputError: Other attributes.
        """
        if values.columns != self.attributes:
            raise InputError(
                f"the records tell {', '.join(values.columns)}, and this matcher reads {', '.join(self.attributes)}"
            )
        weights, unknown = self._weights or (None, 0.0)
        return ToldRecords.of(self._knowledge.all_told(values), self._tokens, self.max_tokens, weights, unknown)

    def pairs(self, pairs: RecordPairs) -> ToldPairs:
        """The records of pairs as words, each read once, and no others."""
        pairs = pairs.narrowed()
        left = self.read(pairs.left.values)
        return ToldPairs(pairs, left, left if pairs.right is pairs.left else self.read(pairs.right.values))

    def _tokens(self, words: Sequence[str]) -> list[list[int]]:
        """A word's tokens are those it has in a text, where a space stands before it; none is a control token."""
        if not words:
            return []
        return self._tokenizer([f" {word}" for word in words], add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
