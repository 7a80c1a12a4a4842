"""A language model whose vectors say what texts mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from features.errors import InputError
from recsys.text_encoders.config import TextEncoderConfig
from recsys.text_encoders.pooling import first_of, last_of, mean_of, trained_pooling

#: tokens of a batch, padding included: enough to keep a processor busy, few enough for its caches
BATCH_TOKENS = 4096


class TextEncoder(nn.Module):
    """Texts in, vectors of unit length out. `recsys.text_encoders.loading.load_encoder` makes one.

    Args:
        config: What was asked for.
        model: Of transformers, without a head.
        tokenizer: Its own, a fast one.
        pooling: "mean", "cls", "last", or a module with weights.
        settings: Of a pooling with weights.
        dense: What comes after pooling.
        max_tokens: What is read of a text.
    """

    def __init__(
        self,
        config: TextEncoderConfig,
        model: nn.Module,
        tokenizer: Any,
        pooling: str,
        settings: dict[str, int],
        dense: nn.Module,
        max_tokens: int,
    ) -> None:
        super().__init__()
        self.config, self.pooling, self.settings = config, pooling, settings
        self.model, self.tokenizer, self.dense = model, tokenizer, dense
        self.max_tokens = max_tokens
        hidden = model.config.hidden_size
        trained = pooling in ("latent", "layers")
        self.pool = (
            trained_pooling(pooling, hidden, model.config.num_hidden_layers + 1, **settings) if trained else None
        )
        widths = [one.out_features for one in dense.modules() if isinstance(one, nn.Linear)]
        whole = widths[-1] if widths else hidden
        if config.dim > whole:
            raise InputError(
                f"text.encoder.dim is {config.dim}, and the vectors of {config.model!r} have {whole} numbers"
            )
        self.size = config.dim or whole

    @property
    def room(self) -> int:
        """Tokens that a text may have besides those that the tokenizer puts around it."""
        return self.max_tokens - self.tokenizer.num_special_tokens_to_add()

    def token_ends(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """Where the tokens of texts end, in characters: see `features.item_text`."""
        if not texts:
            return []
        found = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        return [[end for _, end in offsets] for offsets in found["offset_mapping"]]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts, special ones included, as many as the model reads."""
        if not texts:
            return []
        return self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]

    def forward(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """The vectors of tokenised texts, each of a token at least. B texts -> (B, V)"""
        device = self.model.device
        lengths = torch.tensor([len(one) for one in tokens])
        ids = torch.zeros(len(tokens), int(lengths.max()), dtype=torch.int64)
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        ids[mask] = torch.tensor([one for text in tokens for one in text])
        ids, mask = ids.to(device), mask.to(device)
        # texts of one length need no mask, and without one attention is cheaper
        told = {} if bool((lengths == ids.shape[1]).all()) else {"attention_mask": mask.long()}
        layers = self.pooling == "layers"
        found = self.model(input_ids=ids, **told, output_hidden_states=layers)
        if layers:
            last = torch.stack([last_of(one, mask) for one in found.hidden_states], dim=1)
            vectors = self.pool(last)
        elif self.pool is not None:
            vectors = self.pool(found.last_hidden_state, mask)
        else:
            pool = {"mean": mean_of, "cls": first_of, "last": last_of}[self.pooling]
            vectors = pool(found.last_hidden_state, mask)
        vectors = self.dense(vectors.float())
        return normalize(vectors[:, : self.size], dim=1)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_tokens: int = BATCH_TOKENS) -> np.ndarray:
        """The vectors of texts, in their order. (n,) -> (n, V) float32

        Texts of similar length share a batch, so that little is computed on padding.

        Args:
            texts: Any; what is longer than the model reads is cut.
            batch_tokens: Of a batch, padding included.
        """
        tokens = self.tokens(texts)
        vectors = np.zeros((len(tokens), self.size), np.float32)
        for rows in batches([len(one) for one in tokens], batch_tokens):
            vectors[rows] = self([tokens[row] for row in rows]).cpu().numpy()
        return vectors


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Rows of similar length, the longest first: what memory does not hold, it says at once.

    Args:
        lengths: Tokens of each row. (n,)
        batch_tokens: Of a batch, padding included.

    Example:
        >>> list(batches([2, 9, 3, 8], 16))
        [[1], [3], [2, 0]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    start = 0
    while start < len(order):
        most = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + most]
        start += most
