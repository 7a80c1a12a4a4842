"""Domain knowledge in records: what a span is, told before it, and each written in one way (Ditto, section 3.1).

Ditto inserts tokens such as ID and NUM before what recognisers find ("span typing") and rewrites it ("span
normalisation"), so that the model looks at what decides, and sees one spelling of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from features.errors import InputError
from recsys.matching.named_entities import PREFIX, named_entities
from recsys.matching.recognisers import RECOGNISERS, Span


@dataclass(frozen=True)
class KnowledgeConfig:
    """Which spans are recognised in values.

    Args:
        recognisers: Which ones, the most certain first: of two that claim the same characters, the first has them.
            See `recsys.matching.recognisers`; "spacy:NAME" are the named entities of an installed spaCy pipeline.
            None for values as they are.
        mark: Tells of each span what it is.
        normalise: Writes each span in one way.
    """

    recognisers: tuple[str, ...] = ()
    mark: bool = True
    normalise: bool = True

    def __post_init__(self) -> None:
        for n, name in enumerate(self.recognisers):
            if name not in RECOGNISERS and not name.startswith(PREFIX):
                raise InputError(
                    f"knowledge.recognisers names {name!r}, and there are {', '.join(RECOGNISERS)} and {PREFIX}NAME to "
                    "choose from"
                )
            if name in self.recognisers[:n]:
                raise InputError(f"knowledge.recognisers names {name!r} twice")


class Knowledge:
    """Rewrites values.

    Args:
        config: How.

    Example:
        >>> knowledge = Knowledge(KnowledgeConfig(("price", "unit", "code")))
        >>> knowledge.told("HP 36.4-GB disk BF-036863B5, $ 1,299.00")
        'HP unit 36.4 gb disk code bf036863b5, price 1299'
    """

    def __init__(self, config: KnowledgeConfig) -> None:
        self.config = config
        self._recognisers = [
            RECOGNISERS[name] if name in RECOGNISERS else named_entities(name.removeprefix(PREFIX))
            for name in config.recognisers
        ]

    def spans(self, text: str) -> list[Span]:
        """What is recognised, in the order of the text; no two share a character."""
        found: list[Span] = []
        taken = bytearray(len(text))
        for one in self._recognisers:
            for span in one(text):
                if not any(taken[span.start : span.end]):
                    taken[span.start : span.end] = b"\1" * (span.end - span.start)
                    found.append(span)
        return sorted(found, key=lambda span: span.start)

    def told(self, text: str) -> str:
        """A value with what is known of its spans."""
        parts, at = [], 0
        for span in self.spans(text):
            own = span.text if self.config.normalise else text[span.start : span.end]
            marked = f"{span.kind.replace('_', ' ')} {own}" if self.config.mark else own
            before = text[at : span.start]
            parts += [before, "" if not before or before[-1] in " (" else " ", marked]
            at = span.end
            if at < len(text) and (text[at].isalnum()):
                parts.append(" ")
        return "".join([*parts, text[at:]])

    def all_told(self, values: pl.DataFrame) -> pl.DataFrame:
        """All values of a table of strings; each different one is read once. (n rows)"""
        if not self._recognisers:
            return values
        rewritten = []
        for column in values:
            different = column.unique()
            told = pl.Series([self.told(one) for one in different.to_list()], dtype=pl.String)
            rewritten.append(column.replace_strict(different, told, return_dtype=pl.String))
        return pl.DataFrame(rewritten)
