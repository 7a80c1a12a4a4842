"""Ditto: a pair of records is one sequence, and a pre-trained language model says whether both are the same thing.

Li et al., 'Deep Entity Matching with Pre-Trained Language Models' (PVLDB 14(1), 2020; arXiv 2004.00584).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.knowledge import Knowledge, KnowledgeConfig
from recsys.matching.serialise import PairFrame, Sequences, Serialiser
from recsys.matching.words import Told, ToldRecords
from recsys.text_encoders.config import TextEncoderConfig
from recsys.text_encoders.encoder import DEVICE_TOKENS, THREAD_TOKENS, TextEncoder, batches
from recsys.text_encoders.pooling import UNTRAINED

#: pairs that are serialised and sorted by length at a time
_PAIRS = 8192


@dataclass(frozen=True)
class DittoConfig:
    """What a matcher looks like.

    Args:
        encoder: The language model; its pooling is "cls", "mean" or "last", of the tokens of both records.
        max_tokens: Of a pair; 0 for what the model takes, and 256 at the most.
        knowledge: What is recognised in values.
        summarise: Keeps of long values the words that say most, not the first ones.
        dropout: Share of a pair's vector that training zeroes.
    """

    encoder: TextEncoderConfig = field(default_factory=lambda: TextEncoderConfig(pooling="cls"))
    max_tokens: int = 0
    knowledge: KnowledgeConfig = field(default_factory=KnowledgeConfig)
    summarise: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.encoder.pooling not in ("auto", *UNTRAINED):
            raise InputError(
                f"model.encoder.pooling is {self.encoder.pooling!r}, and a matcher's is one of {', '.join(UNTRAINED)}"
            )
        if self.encoder.dim:
            raise InputError(
                f"model.encoder.dim is {self.encoder.dim}, and a matcher reads whole vectors; leave it out"
            )
        if self.max_tokens < 0:
            raise InputError(f"model.max_tokens is 0 or more, got {self.max_tokens}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is in [0, 1), got {self.dropout}")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DittoConfig:
        """From what `dataclasses.asdict` gave."""
        knowledge = {**data["knowledge"], "recognisers": tuple(data["knowledge"]["recognisers"])}
        return cls(
            **{**data, "encoder": TextEncoderConfig(**data["encoder"]), "knowledge": KnowledgeConfig(**knowledge)}
        )


@dataclass(frozen=True, eq=False)
class ToldPairs:
    """Pairs of records as words.

    Args:
        pairs: Which they are. (m pairs)
        left: The records of one table.
        right: Those of the other one, or the same.
    """

    pairs: RecordPairs
    left: ToldRecords
    right: ToldRecords

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
        self.write = Serialiser(names, PairFrame.of(encoder.tokenizer), self.max_tokens, config.summarise)

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
        """Both tables as words; a table with itself is read once."""
        left = self.read(pairs.left.values)
        return ToldPairs(pairs, left, left if pairs.right is pairs.left else self.read(pairs.right.values))

    def _tokens(self, words: Sequence[str]) -> list[list[int]]:
        """A word's tokens are those it has in a text, where a space stands before it."""
        if not words:
            return []
        return self._tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]


class DittoMatcher(nn.Module):
    """The log-odds of pairs of records.

    Args:
        config: What it looks like.
        encoder: Its language model, as `recsys.text_encoders.loading.load_encoder` gives it; what comes after its
            tokens' states is left out.

    Raises:
        InputError: A language model whose own pooling is trained, and no other one is asked for.
    """

    def __init__(self, config: DittoConfig, encoder: TextEncoder) -> None:
        super().__init__()
        if encoder.pooling not in UNTRAINED:
            raise InputError(
                f"{config.encoder.model!r} pools by {encoder.pooling!r}; name one of {', '.join(UNTRAINED)} in "
                "model.encoder.pooling"
            )
        self.config, self.encoder = config, encoder
        encoder.dense = nn.Sequential()
        width = encoder.model.config.get_text_config().hidden_size
        self.dropout, self.head = nn.Dropout(config.dropout), nn.Linear(width, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.to(encoder.model.device)

    def vectors(self, pairs: Sequences) -> Tensor:
        """What the language model makes of pairs. B pairs -> (B, H)"""
        lengths = torch.tensor([len(one) for one in pairs.ids])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, L)
        told = {"input_ids": torch.full(mask.shape, self.encoder.tokenizer.pad_token_id or 0)}
        told["input_ids"][mask] = torch.tensor([one for ids in pairs.ids for one in ids])
        if any(side[-1] for side in pairs.sides):
            told["token_type_ids"] = torch.zeros(mask.shape, dtype=torch.int64)
            told["token_type_ids"][mask] = torch.tensor([one for sides in pairs.sides for one in sides])
        if int(lengths.min()) < mask.shape[1]:
            told["attention_mask"] = mask.long()
        device = self.encoder.model.device
        states = self.encoder.model(**{name: one.to(device) for name, one in told.items()}).last_hidden_state
        return UNTRAINED[self.encoder.pooling](states, mask.to(device))

    def judge(self, vectors: Tensor) -> Tensor:
        """The log-odds that vectors say. (B, H) -> (B,)"""
        return self.head(self.dropout(vectors.to(self.head.weight.dtype)))[:, 0]

    def forward(self, pairs: Sequences) -> Tensor:
        """B pairs -> (B,)"""
        return self.judge(self.vectors(pairs))


def log_odds(
    matcher: DittoMatcher,
    reader: PairReader,
    pairs: RecordPairs,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """What a matcher says of pairs.

    Pairs of similar length share a batch; memory depends on the tables, not on how many pairs there are.

    Args:
        matcher: In evaluation mode.
        reader: Its own.
        pairs: (m pairs)
        progress: Called with how many are done, and how many there are.

    Returns:
        Positive for what is likelier the same than not. (m,) float32
    """
    told = reader.pairs(pairs)
    found = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), _PAIRS):
        part = slice(start, min(start + _PAIRS, len(pairs)))
        found[part] = log_odds_of(matcher, reader.write(told.take(part)))
        progress(part.stop, len(pairs))
    return found


@torch.inference_mode()
def log_odds_of(matcher: DittoMatcher, pairs: Sequences) -> np.ndarray:
    """What a matcher says of pairs that are written already, those of similar length at a time. B pairs -> (B,)"""
    found = np.zeros(len(pairs.ids), np.float32)
    on_cpu = matcher.encoder.model.device.type == "cpu"
    budget = THREAD_TOKENS * torch.get_num_threads() if on_cpu else DEVICE_TOKENS
    for some in batches([len(ids) for ids in pairs.ids], budget):
        found[some] = matcher(pairs.take(some)).float().cpu().numpy()
    return found
