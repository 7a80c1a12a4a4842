"""A tokenizer that many threads may ask at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any


class Tokens:
    """Texts to tokens, and where tokens end.

    transformers' tokenizers are told anew with each call whether to cut what is long, which fails when two threads call
    at once. Here that is settled in the beginning: one tokenizer cuts, the other does not.

    Args:
        tokenizer: Of transformers, a fast one; it stays as it is.
        most: Tokens that are read of a text, those that the tokenizer puts around it included.
    """

    def __init__(self, tokenizer: Any, most: int) -> None:
        self._whole, self._cut = (copy.deepcopy(tokenizer.backend_tokenizer) for _ in range(2))
        for one in (self._whole, self._cut):  # files say what a model was trained with
            one.no_padding()
            one.no_truncation()
        self._cut.enable_truncation(most)
        #: tokens that a text may have besides those around it
        self.room = most - self._whole.num_special_tokens_to_add(is_pair=False)

    def ends(self, texts: Sequence[str]) -> list[list[int]]:
        """Where the tokens of texts end, in characters; without tokens around them."""
        found = self._whole.encode_batch(list(texts), add_special_tokens=False)
        return [[end for _, end in one.offsets] for one in found]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts and those around them, as many as are read."""
        return [one.ids for one in self._cut.encode_batch_fast(list(texts))]
