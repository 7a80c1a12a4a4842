"""What a matcher looks like: its language model, what it is told of records, and how much of that it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from features.errors import InputError
from recsys.matching.knowledge import KnowledgeConfig
from recsys.text_encoders.config import TextEncoderConfig
from recsys.text_encoders.pooling import UNTRAINED


@dataclass(frozen=True)
class DittoConfig:
    """What a matcher looks like.

    Args:
        encoder: The language model; its pooling is "cls", "mean" or "last", of the tokens of a sequence.
        reads: Both records "together", in one sequence, as Ditto does; or each "apart", by itself, and compares what
            they mean: see `recsys.matching.siamese`. Then each record is read once, however many pairs it is in.
        head: What is judged of a sequence of both records: what is "pooled" of it, as Ditto does; or that and, with
            "compared", the means of either record's tokens, how far apart these are, and what they share. Vectors of
            records that are read apart are always compared.
        both_orders: Judges a pair by the mean of what is said of it and of the pair turned round: the same answer
            whichever record comes first, for twice the work. Training reads one order.
        overlap: Joins what the language model says with what boosted trees make of words, numbers and codes that both
            records share or one lacks: see `recsys.matching.overlap`. They learn when the language model has. Left
            out, it is so where records are read together: reading them apart is for judging more pairs than can be
            compared one by one.
        max_tokens: Of a sequence; 0 for what the model takes, and 256 at the most.
        knowledge: What is recognised in values.
        summarise: Keeps of long values the words that say most, not the first ones.
        dropout: Share of a pair's vector that training zeroes.
    """

    encoder: TextEncoderConfig = field(default_factory=lambda: TextEncoderConfig(pooling="cls"))
    reads: Literal["together", "apart"] = "together"
    head: Literal["pooled", "compared"] = "compared"
    both_orders: bool = False
    overlap: bool | None = None
    max_tokens: int = 0
    knowledge: KnowledgeConfig = field(default_factory=KnowledgeConfig)
    summarise: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.encoder.pooling not in ("auto", *UNTRAINED):
            raise InputError(
                f"model.encoder.pooling is {self.encoder.pooling!r}, and a matcher's is one of {', '.join(UNTRAINED)}"
            )
        if self.reads not in ("together", "apart"):
            raise InputError(f"model.reads is {self.reads!r}, not 'together' or 'apart'")
        if self.head not in ("pooled", "compared"):
            raise InputError(f"model.head is {self.head!r}, not 'pooled' or 'compared'")
        if self.reads == "apart" and self.head == "pooled":
            raise InputError("model.head 'pooled' judges one sequence, and model.reads 'apart' has two; leave one out")
        if self.encoder.dim:
            raise InputError(
                f"model.encoder.dim is {self.encoder.dim}, and a matcher reads whole vectors; leave it out"
            )
        if self.max_tokens < 0:
            raise InputError(f"model.max_tokens is 0 or more, got {self.max_tokens}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.dropout is in [0, 1), got {self.dropout}")

    @property
    def compares(self) -> bool:
        """Whether trees judge, too."""
        return self.reads == "together" if self.overlap is None else self.overlap

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DittoConfig:
        """From what `dataclasses.asdict` gave."""
        knowledge = {**data["knowledge"], "recognisers": tuple(data["knowledge"]["recognisers"])}
        return cls(
            **{**data, "encoder": TextEncoderConfig(**data["encoder"]), "knowledge": KnowledgeConfig(**knowledge)}
        )
