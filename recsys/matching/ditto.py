"""Ditto: a pair of records is one sequence, and a pre-trained language model says whether both are the same thing.

Li et al., 'Deep Entity Matching with Pre-Trained Language Models' (PVLDB 14(1), 2020; arXiv 2004.00584).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import InputError
from features.record_pairs import RecordPairs
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.overlap_judge import OverlapJudge
from recsys.matching.pair_reader import PairReader, ToldPairs
from recsys.matching.serialise import PairFrame, Sequences, Written
from recsys.matching.words import Told
from recsys.text_encoders.encoder import DEVICE_TOKENS, THREAD_TOKENS, TextEncoder, batches
from recsys.text_encoders.pooling import UNTRAINED, mean_of


class DittoMatcher(nn.Module):
    """The log-odds of pairs of records.

    Args:
        config: What it looks like.
        encoder: Its language model, as `recsys.text_encoders.loading.load_encoder` gives it; what comes after its
            tokens' states is left out.

    Attributes:
        overlap: The second opinion that `log_odds` joins with its own, once there is one.

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
        self.overlap: OverlapJudge | None = None
        encoder.dense = nn.Sequential()
        self._tells_sides = PairFrame.of(encoder.tokenizer).sides
        width = encoder.model.config.get_text_config().hidden_size
        self.dropout, self.head = nn.Dropout(config.dropout), nn.Linear(self.parts * width, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.to(encoder.model.device)

    @property
    def parts(self) -> int:
        """Vectors of the language model's width that a pair has."""
        return 5 if self.config.head == "compared" else 1

    def encode(self, sequences: Sequences) -> Tensor:
        """What the language model makes of sequences, those of similar length at a time. B sequences -> (B, H)"""
        return self._read(sequences, lambda states, mask, second: UNTRAINED[self.encoder.pooling](states, mask))

    def _read(self, sequences: Sequences, pooled: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Those of similar length at a time, and of their `_states` what is pooled. B sequences -> (B, K)"""
        parts = list(batches(sequences.lengths, self.budget))
        if len(parts) == 1:
            return pooled(*self._states(sequences))
        places = torch.tensor([place for part in parts for place in part])
        return torch.cat([pooled(*self._states(sequences.take(part))) for part in parts])[places.argsort()]

    @property
    def budget(self) -> int:
        """Tokens, padding included, that the language model reads at a time."""
        if self.encoder.model.device.type != "cpu":
            return DEVICE_TOKENS
        # what is kept for the gradient leaves the caches anyway, and each part costs a pass over all gradients
        return (2 if self.training else 1) * THREAD_TOKENS * torch.get_num_threads()

    def _states(self, sequences: Sequences) -> tuple[Tensor, Tensor, Tensor]:
        """All at once: B sequences -> (B, L, H), (B, L) bool: tokens, (B, L) bool: those of the second record"""
        lengths = torch.tensor(sequences.lengths)
        mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, L)
        told = {"input_ids": torch.full(mask.shape, self.encoder.tokenizer.pad_token_id or 0)}
        told["input_ids"][mask] = torch.tensor([one for ids in sequences.ids for one in ids])
        second = torch.zeros(mask.shape, dtype=torch.bool)
        second[mask] = torch.tensor([one for sides in sequences.sides for one in sides], dtype=torch.bool)
        if self._tells_sides and bool(second.any()):
            told["token_type_ids"] = second.long()
        if int(lengths.min()) < mask.shape[1]:
            told["attention_mask"] = mask.long()
        device = self.encoder.model.device
        states = self.encoder.model(**{name: one.to(device) for name, one in told.items()}).last_hidden_state
        return states, mask.to(device), second.to(device)

    def vectors(self, pairs: Written) -> Tensor:
        """What is judged of pairs, as this kind reads them. B pairs -> (B, parts * H)"""
        assert isinstance(pairs, Sequences)
        return self.encode(pairs) if self.config.head == "pooled" else self._read(pairs, self._compared)

    def _compared(self, states: Tensor, mask: Tensor, second: Tensor) -> Tensor:
        """What is pooled, and both records' means compared: what they have become beside each other. -> (B, 5 H)"""
        pooled = UNTRAINED[self.encoder.pooling](states, mask).float()
        return torch.cat([pooled, compared(mean_of(states, mask & ~second), mean_of(states, second))], dim=1)

    def judge(self, vectors: Tensor) -> Tensor:
        """The log-odds that vectors say. (B, parts * H) -> (B,)"""
        return self.head(self.dropout(vectors.to(self.head.weight.dtype)))[:, 0]

    def forward(self, pairs: Written) -> Tensor:
        """B pairs -> (B,)"""
        return self.judge(self.vectors(pairs))

    def judging(self, reader: PairReader, told: ToldPairs) -> Callable[[slice], np.ndarray]:
        """What the language model says of some of many pairs, by places; what can be computed once is computed now."""
        return lambda places: _stated(self, reader, told.take(places))


def compared(one: Tensor, other: Tensor) -> Tensor:
    """Two vectors, how far they are apart, and what they share (InferSent, arXiv 1705.02364). (B, H) x 2 -> (B, 4 H)"""
    one, other = one.float(), other.float()  # what is nearly the same differs by less than bf16 tells
    return torch.cat([one, other, (one - other).abs(), one * other], dim=1)


def log_odds(
    matcher: DittoMatcher,
    reader: PairReader,
    pairs: RecordPairs | ToldPairs,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """What a matcher says of pairs: see `opinions`.

    Returns:
        Positive for what is likelier the same than not. (m,) float32
    """
    return together(matcher.overlap, *opinions(matcher, reader, pairs, progress))


def opinions(
    matcher: DittoMatcher,
    reader: PairReader,
    pairs: RecordPairs | ToldPairs,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """What the language model says of pairs, and what the trees say, as log-odds.

    Pairs of similar length share a batch; memory depends on the tables, not on how many pairs there are.

    Args:
        matcher: In evaluation mode.
        reader: Its own.
        pairs: Read already or not. (m pairs)
        progress: Called with how many are done, and how many there are.

    Returns:
        (m,) float32, and (m,) float64; None where there is no second opinion.
    """
    told = pairs if isinstance(pairs, ToldPairs) else reader.pairs(pairs)
    judged, n = matcher.judging(reader, told), len(told.pairs)
    stated, said = np.zeros(n, np.float32), np.zeros(n) if matcher.overlap else None
    for part in told.parts():
        stated[part] = judged(part)
        if matcher.overlap is not None and said is not None:
            said[part] = matcher.overlap.log_odds(told.take(part))
        progress(part.stop, n)
    return stated, said


def log_odds_of(matcher: DittoMatcher, reader: PairReader, pairs: Sequence[tuple[Told, Told]]) -> np.ndarray:
    """What a matcher says of pairs that are words already, those of similar length at a time. B pairs -> (B,)"""
    said = None if matcher.overlap is None else matcher.overlap.log_odds(pairs)
    return together(matcher.overlap, _stated(matcher, reader, pairs), said)


def _stated(matcher: DittoMatcher, reader: PairReader, pairs: Sequence[tuple[Told, Told]]) -> np.ndarray:
    """What the language model says. B pairs -> (B,)"""
    orders = [pairs, [(right, left) for left, right in pairs]] if matcher.config.both_orders else [pairs]
    found = [computed(matcher, reader.write(one), lambda some: matcher(some)[:, None])[:, 0] for one in orders]
    return np.mean(found, axis=0)


def together(judge: OverlapJudge | None, stated: np.ndarray, said: np.ndarray | None) -> np.ndarray:
    """Both opinions, if there are two. (m,), (m,) -> (m,) float32"""
    if judge is None or said is None:
        return stated
    return judge.joined(stated, said).astype(np.float32)


def vectors_of(matcher: DittoMatcher, pairs: Written) -> np.ndarray:
    """What it makes of them before it judges. B pairs -> (B, parts * H)"""
    return computed(matcher, pairs, matcher.vectors)


@torch.inference_mode()
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
