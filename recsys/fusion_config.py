"""How a model takes in the items' declared vector, such as the embedding of a text; one word compares the ways.

- *add*: the text, projected, is added to what is learned for the item.
- *concat*: both stand side by side, and are projected together.
- *alphafuse*: the text is whitened and frozen, and what is learned for the item goes into the dimensions where the text
  says least (Hu et al., 'AlphaFuse: Learn ID Embeddings for Sequential Recommendation in Null Space of Language
  Embeddings', SIGIR 2025).
- *whitened*: the whitened text, frozen, and nothing else (Zhang et al., 'Are ID Embeddings Necessary? Whitening
  Pre-trained Text Embeddings for Effective Sequential Recommendation', ICDE 2024).
- *text*: the text, projected, and nothing else.
- *none*: the text is not read.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from features.errors import InputError
from recsys.embeddings import EmbeddingPlan

KINDS = ("none", "add", "concat", "alphafuse", "whitened", "text")
ALIGNMENTS = ("none", "con", "gen")


@dataclass(frozen=True)
class FusionConfig:
    """How the items' declared vector, a feature of kind "vector", is taken in.

    Args:
        kind: "none", "add", "concat", "alphafuse", "whitened" or "text": see the module.
        hidden: Of "add", "concat" and "text": widths of hidden layers between the text and its projection.
        learned: Of "alphafuse": how many of the D dimensions ids and attributes have, those that say least of the
            text; 0 for half of them.
        dropout: Share of the standardised text that training zeroes, where it is projected.
        align: Pulls what the model makes of items towards their text, in training alone: "con" or "gen" of RLMRec; see
            `recsys.losses.alignment`. Works beside any kind, "none" included.
        align_weight: Of that loss, in nats; the recommendation's loss has 1.
        align_temperature: Of its softmax.
        align_share: Of "gen" in a sequence model: share of a history's items that is hidden, and whose texts are to be
            told from what came before. (A two-tower model is to tell the texts of its targets.)

    Example:
        >>> FusionConfig("alphafuse").learned_width(64), FusionConfig("add").learned_width(64)
        (32, 64)
    """

    kind: Literal["none", "add", "concat", "alphafuse", "whitened", "text"] = "none"
    hidden: tuple[int, ...] = ()
    learned: int = 0
    dropout: float = 0.0
    align: Literal["none", "con", "gen"] = "none"
    align_weight: float = 0.1
    align_temperature: float = 0.2
    align_share: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"model.fusion.kind is {self.kind!r}, not one of {', '.join(KINDS)}")
        if self.align not in ALIGNMENTS:
            raise InputError(f"model.fusion.align is {self.align!r}, not one of {', '.join(ALIGNMENTS)}")
        if any(width < 1 for width in self.hidden):
            raise InputError(f"model.fusion.hidden has widths of at least 1, got {self.hidden}")
        if self.learned < 0:
            raise InputError(f"model.fusion.learned is 0 or more, got {self.learned}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.fusion.dropout is in [0, 1), got {self.dropout}")
        if not 0 <= self.align_weight < float("inf"):
            raise InputError(f"model.fusion.align_weight is 0 or more, got {self.align_weight}")
        if not 0 < self.align_temperature < float("inf"):
            raise InputError(f"model.fusion.align_temperature is a positive number, got {self.align_temperature}")
        if not 0 < self.align_share < 1:
            raise InputError(f"model.fusion.align_share is in (0, 1), got {self.align_share}")

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> FusionConfig:
        """From what `dataclasses.asdict` gave; bundles that were made before there was fusion have none."""
        return cls() if data is None else cls(**{**data, "hidden": tuple(data["hidden"])})

    @property
    def reads_text(self) -> bool:
        """Whether a model's vectors depend on the text."""
        return self.kind != "none"

    @property
    def learns_items(self) -> bool:
        """Whether they depend on ids and attributes."""
        return self.kind not in ("text", "whitened")

    @property
    def frozen(self) -> bool:
        """Whether the text is whitened, and no more learned of it than how loud it speaks."""
        return self.kind in ("alphafuse", "whitened")

    def learned_width(self, dim: int) -> int:
        """Width of what is made of ids and attributes, of D dimensions in all.

        Raises:
            InputError: More are to be learned than there are.
        """
        if self.kind != "alphafuse":
            return dim
        if self.learned > dim:
            raise InputError(f"model.fusion.learned is {self.learned}, more than the model.dim of {dim}")
        return self.learned or max(1, dim // 2)

    def narrowed(self, plan: EmbeddingPlan, dim: int) -> EmbeddingPlan:
        """Embeddings as wide as what is learned, where they are declared as wide as the whole vector.

        Args:
            plan: The model's.
            dim: D
        """
        if plan.width != dim or plan.widths or self.kind != "alphafuse":
            return plan
        return dataclasses.replace(plan, width=self.learned_width(dim))
