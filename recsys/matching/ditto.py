"""Ditto: a pair of records is one sequence, and a pre-trained language model says whether both are the same thing.

Li et al., 'Deep Entity Matching with Pre-Trained Language Models' (PVLDB 14(1), 2020; arXiv 2004.00584).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader
from recsys.matching.serialise import Sequences
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
    return _computed(matcher, pairs, matcher)[:, 0]


@torch.inference_mode()
def vectors_of(matcher: DittoMatcher, pairs: Sequences) -> np.ndarray:
    """What it makes of them before it judges. B pairs -> (B, H)"""
    return _computed(matcher, pairs, matcher.vectors)


def _computed(matcher: DittoMatcher, pairs: Sequences, function: Callable[[Sequences], Tensor]) -> np.ndarray:
    """A function of pairs, those of similar length at a time. B pairs -> (B, K); K is 1 for a number a pair"""
    on_cpu = matcher.encoder.model.device.type == "cpu"
    budget = THREAD_TOKENS * torch.get_num_threads() if on_cpu else DEVICE_TOKENS
    found: np.ndarray | None = None
    for some in batches([len(ids) for ids in pairs.ids], budget):
        told = function(pairs.take(some)).float().cpu().numpy()
        told = told.reshape(len(some), -1)
        found = np.zeros((len(pairs.ids), told.shape[1]), np.float32) if found is None else found
        found[some] = told
    return np.zeros((0, 1), np.float32) if found is None else found
