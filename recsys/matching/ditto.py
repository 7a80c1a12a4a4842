"""Ditto: a pair of records is one sequence, and a pre-trained language model says whether both are the same thing.

Li et al., 'Deep Entity Matching with Pre-Trained Language Models' (PVLDB 14(1), 2020; arXiv 2004.00584).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader, ToldPairs
from recsys.matching.serialise import Sequences, Written
from recsys.text_encoders.encoder import DEVICE_TOKENS, THREAD_TOKENS, TextEncoder, batches
from recsys.text_encoders.pooling import UNTRAINED

#: pairs that are serialised and sorted by length at a time
_PAIRS = 8192


class DittoMatcher(nn.Module):
    """The log-odds of pairs of records.

    Args:
        config: What it looks like.
        encoder: Its language model, as `recsys.text_encoders.loading.load_encoder` gives it; what comes after its
            tokens' states is left out.

    Raises:
        InputError: A language model whose own pooling is trained, and no other one is asked for.
    """

    #: vectors of the language model's width that a pair has
    parts = 1

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
        self.dropout, self.head = nn.Dropout(config.dropout), nn.Linear(self.parts * width, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.to(encoder.model.device)

    def encode(self, sequences: Sequences) -> Tensor:
        """What the language model makes of sequences, those of similar length at a time. B sequences -> (B, H)"""
        parts = list(batches(sequences.lengths, self.budget))
        if len(parts) == 1:
            return self._encode(sequences)
        places = torch.tensor([place for part in parts for place in part])
        return torch.cat([self._encode(sequences.take(part)) for part in parts])[places.argsort()]

    @property
    def budget(self) -> int:
        """Tokens, padding included, that the language model reads at a time."""
        if self.encoder.model.device.type != "cpu":
            return DEVICE_TOKENS
        # what is kept for the gradient leaves the caches anyway, and each part costs a pass over all gradients
        return (2 if self.training else 1) * THREAD_TOKENS * torch.get_num_threads()

    def _encode(self, sequences: Sequences) -> Tensor:
        """All at once. B sequences -> (B, H)"""
        lengths = torch.tensor(sequences.lengths)
        mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, L)
        told = {"input_ids": torch.full(mask.shape, self.encoder.tokenizer.pad_token_id or 0)}
        told["input_ids"][mask] = torch.tensor([one for ids in sequences.ids for one in ids])
        if any(side[-1] for side in sequences.sides):
            told["token_type_ids"] = torch.zeros(mask.shape, dtype=torch.int64)
            told["token_type_ids"][mask] = torch.tensor([one for sides in sequences.sides for one in sides])
        if int(lengths.min()) < mask.shape[1]:
            told["attention_mask"] = mask.long()
        device = self.encoder.model.device
        states = self.encoder.model(**{name: one.to(device) for name, one in told.items()}).last_hidden_state
        return UNTRAINED[self.encoder.pooling](states, mask.to(device))

    def vectors(self, pairs: Written) -> Tensor:
        """What is judged of pairs, as this kind reads them. B pairs -> (B, parts * H)"""
        assert isinstance(pairs, Sequences)
        return self.encode(pairs)

    def judge(self, vectors: Tensor) -> Tensor:
        """The log-odds that vectors say. (B, parts * H) -> (B,)"""
        return self.head(self.dropout(vectors.to(self.head.weight.dtype)))[:, 0]

    def forward(self, pairs: Written) -> Tensor:
        """B pairs -> (B,)"""
        return self.judge(self.vectors(pairs))

    def judging(self, reader: PairReader, told: ToldPairs) -> Callable[[slice], np.ndarray]:
        """What judges some of many pairs, by their places; what can be computed once is computed now."""
        return lambda places: log_odds_of(self, reader.write(told.take(places)))


def log_odds(
    matcher: DittoMatcher,
    reader: PairReader,
    pairs: RecordPairs | ToldPairs,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """What a matcher says of pairs.

    Pairs of similar length share a batch; memory depends on the tables, not on how many pairs there are.

    Args:
        matcher: In evaluation mode.
        reader: Its own.
        pairs: Read already or not. (m pairs)
        progress: Called with how many are done, and how many there are.

    Returns:
        Positive for what is likelier the same than not. (m,) float32
    """
    told = pairs if isinstance(pairs, ToldPairs) else reader.pairs(pairs)
    judged, n = matcher.judging(reader, told), len(told.pairs)
    found = np.zeros(n, np.float32)
    for start in range(0, n, _PAIRS):
        part = slice(start, min(start + _PAIRS, n))
        found[part] = judged(part)
        progress(part.stop, n)
    return found


@torch.inference_mode()
def log_odds_of(matcher: DittoMatcher, pairs: Written) -> np.ndarray:
    """What a matcher says of pairs that are written already, those of similar length at a time. B pairs -> (B,)"""
    return computed(matcher, pairs, lambda some: matcher(some)[:, None])[:, 0]


@torch.inference_mode()
def vectors_of(matcher: DittoMatcher, pairs: Written) -> np.ndarray:
    """What it makes of them before it judges. B pairs -> (B, parts * H)"""
    return computed(matcher, pairs, matcher.vectors)


def computed(matcher: DittoMatcher, sequences: Written, function: Callable[[Any], Tensor]) -> np.ndarray:
    """A function of sequences, those of similar length at a time. B sequences -> (B, K)

    Args:
        matcher: Says where it is computed.
        sequences: Of either kind.
        function: Of that kind, B of them -> (B, K)
    """
    found: np.ndarray | None = None
    for some in batches(sequences.lengths, matcher.budget):
        told = function(sequences.take(some)).float().cpu().numpy()
        found = np.zeros((len(sequences), told.shape[1]), np.float32) if found is None else found
        found[some] = told
    return np.zeros((0, 1), np.float32) if found is None else found
