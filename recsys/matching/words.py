"""Records as words, and words as the tokens of a language model: each different word is tokenised once.

Augmentation, summaries and explanations are about whole words, and a model reads tokens; what stands between the two is
the word's tokens, which are the same wherever it stands: tokenizers split at spaces first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from features.batches import JaggedArray

#: words to the tokens of each, without any around them
Tokenise = Callable[[Sequence[str]], Sequence[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Word:
    """One word.

    Args:
        text: As it is told.
        tokens: What a model reads of it.
        weight: How much it says (inverse document frequency), where that is known.
    """

    text: str
    tokens: tuple[int, ...]
    weight: float = 0.0


#: what is told of a record: attributes by number, each with its words
Told = list[tuple[int, list[Word]]]


@dataclass(frozen=True, eq=False)
class ToldRecords:
    """n records of A attributes as words.

    Args:
        words: The different words.
        values: For each record its attributes one after the other, as places in `words`. (n * A rows)
        attributes: A
    """

    words: list[Word]
    values: JaggedArray
    attributes: int

    @classmethod
    def of(
        cls,
        values: pl.DataFrame,
        tokenise: Tokenise,
        most_tokens: int,
        weights: Mapping[str, float] | None = None,
        unknown: float = 0.0,
    ) -> ToldRecords:
        """Reads values.

        Args:
            values: A column an attribute. (n rows) String
            tokenise: The model's tokenizer. A word of which it makes nothing is left out.
            most_tokens: What is kept of a word, and, where words have no weight, how many words are kept of a value:
                a model reads no more.
            weights: Of words.
            unknown: Of words that have none there.

        Example:
            >>> values = pl.DataFrame({"title": ["rose soap", ""], "note": ["soap", "a rose"]})
            >>> told = ToldRecords.of(values, lambda words: [list(map(ord, word[:2])) for word in words], 8)
            >>> [(one, [word.text for word in words]) for one, words in told.record(1)]
            [(0, []), (1, ['a', 'rose'])]
        """
        width = values.width
        flat = pl.concat([column.alias("value") for column in values]).str.split(" ")
        place = np.arange(len(flat)).reshape(width, -1).T.ravel()  # records first, then attributes
        lists = flat.gather(place).list.eval(pl.element().filter(pl.element() != ""))
        if weights is None:
            lists = lists.list.head(most_tokens)
        said = pl.DataFrame({"row": np.arange(len(lists)), "word": lists}).explode("word").drop_nulls()
        different = said["word"].unique(maintain_order=True)
        words = [
            Word(text, tuple(tokens[:most_tokens]), unknown if weights is None else weights.get(text, unknown))
            for text, tokens in zip(different.to_list(), tokenise(different.to_list()), strict=True)
        ]
        codes = pl.DataFrame({"word": different, "code": np.arange(len(words))})
        said = said.join(codes, on="word", how="left", maintain_order="left")
        read = np.array([bool(word.tokens) for word in words], dtype=bool)[said["code"].to_numpy()]
        counts = np.bincount(said["row"].to_numpy(), minlength=len(lists))
        array = JaggedArray(said["code"].to_numpy(), np.concatenate([[0], np.cumsum(counts)]))
        return cls(words, array.only(read), width)

    def __len__(self) -> int:
        return len(self.values) // self.attributes

    def record(self, row: int) -> Told:
        """What is told of one record, attributes of which nothing is said included."""
        first = row * self.attributes
        return [
            (one, [self.words[code] for code in self.values.row(first + one).tolist()])
            for one in range(self.attributes)
        ]
