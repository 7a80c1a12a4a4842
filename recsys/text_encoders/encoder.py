"""A language model whose vectors say what texts mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from features.errors import InputError
from recsys.text_encoders.config import TextEncoderConfig
from recsys.text_encoders.pooling import UNTRAINED, Pooling, last_of, trained_pooling
from recsys.text_encoders.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: tokens of a batch, padding included, for each thread of a processor: more than its caches hold takes twice as long
THREAD_TOKENS = 512

#: and for another device, which is to be kept busy
DEVICE_TOKENS = 65_536


class TextEncoder(nn.Module):
    """Texts in, vectors of unit length out. `recsys.text_encoders.loading.load_encoder` makes one.

    Args:
        config: What was asked for.
        model: Of transformers, without a head.
        tokenizer: Its own, a fast one.
        pooling: "mean", "cls", "last", "latent" or "layers".
        settings: Of a pooling with weights.
        dense: What comes after pooling.
        max_tokens: What is read of a text.

    Raises:
        InputError: More numbers of a vector are wanted than there are, or no token fits into what is read.
    """

    def __init__(
        self,
        config: TextEncoderConfig,
        model: PreTrainedModel,
        tokenizer: Any,
        pooling: Pooling,
        settings: dict[str, int],
        dense: nn.Module,
        max_tokens: int,
    ) -> None:
        super().__init__()
        self.config, self.pooling, self.settings = config, pooling, settings
        self.model, self.tokenizer, self.dense = model, tokenizer, dense
        self.max_tokens = max_tokens
        self._tokens = Tokens(tokenizer, max_tokens)
        if self.room < 1:
            raise InputError(
                f"text.encoder.max_tokens is {max_tokens}, and {config.model!r} puts {max_tokens - self.room} tokens "
                "around each text"
            )
        sizes = model.config.get_text_config()
        self.pool = None
        if pooling in ("latent", "layers"):
            self.pool = trained_pooling(pooling, sizes.hidden_size, sizes.num_hidden_layers + 1, **settings)
        widths = [one.out_features for one in dense.modules() if isinstance(one, nn.Linear)]
        whole = widths[-1] if widths else sizes.hidden_size
        if config.dim > whole:
            raise InputError(
                f"text.encoder.dim is {config.dim}, and the vectors of {config.model!r} have {whole} numbers"
            )
        self.size = config.dim or whole

    @property
    def room(self) -> int:
        """Tokens that a text may have besides those that the tokenizer puts around it."""
        return self._tokens.room

    def token_ends(self, texts: Sequence[str]) -> list[list[int]]:
        """Where the tokens of texts end, in characters: see `features.item_text`."""
        return self._tokens.ends(texts)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts, special ones included, as many as the model reads."""
        return self._tokens.ids(texts)

    def forward(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """The vectors of tokenised texts, each of a token at least. B texts -> (B, V)"""
        lengths = torch.tensor([len(one) for one in tokens])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, L)
        ids = torch.full(mask.shape, self.tokenizer.pad_token_id or 0)
        ids[mask] = torch.tensor([one for text in tokens for one in text])
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        # texts of one length need no mask, and without one attention is cheaper
        told = {} if int(lengths.min()) == len(mask[0]) else {"attention_mask": mask.long()}
        found = self.model(input_ids=ids, **told, output_hidden_states=self.pooling == "layers")
        vectors = self.dense(self._pooled(found, mask).float())
        return normalize(vectors[:, : self.size], dim=1)

    def _pooled(self, found: Any, mask: Tensor) -> Tensor:
        """From what the model says to a vector a text. (B, L) bool -> (B, H)"""
        if self.pool is None:
            return UNTRAINED[self.pooling](found.last_hidden_state, mask)
        dtype = next(self.pool.parameters()).dtype  # may be finer than the model's while both are tuned
        if self.pooling == "layers":
            return self.pool(torch.stack([last_of(one, mask) for one in found.hidden_states], dim=1).to(dtype))
        return self.pool(found.last_hidden_state.to(dtype), mask)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_tokens: int = 0) -> np.ndarray:
        """The vectors of texts, in their order; zeros for a text without a token. (n,) -> (n, V) float32

        Texts of similar length share a batch, so that little is computed on padding.

        Args:
            texts: Any; what is longer than the model reads is cut.
            batch_tokens: Of a batch, padding included; 0 for what suits the device.
        """
        tokens = self.tokens(texts)
        suits = THREAD_TOKENS * torch.get_num_threads() if self.model.device.type == "cpu" else DEVICE_TOKENS
        vectors = np.zeros((len(tokens), self.size), np.float32)
        for rows in batches([len(one) for one in tokens], batch_tokens or suits):
            vectors[rows] = self([tokens[row] for row in rows]).cpu().numpy()
        return vectors


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Rows of similar length, the longest first: what memory does not hold, it says at once.

    Args:
        lengths: Tokens of each row; those of none are in no batch. (n,)
        batch_tokens: Of a batch, padding included.

    Example:
        >>> list(batches([2, 9, 3, 0, 8], 12))
        [[1], [4], [2, 0]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")[: np.count_nonzero(lengths)].tolist()
    start = 0
    while start < len(order):
        most = max(1, batch_tokens // lengths[order[start]])
        yield order[start : start + most]
        start += most
