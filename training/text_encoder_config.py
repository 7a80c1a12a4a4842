"""Configuration of a run that tunes a text encoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from features.errors import InputError
from features.text_pairs import PairsConfig
from recsys.text_encoders import ItemTextConfig
from training.config import DataConfig, SplitConfig
from training.optimisers import OptimiserConfig


@dataclass(frozen=True)
class TextEncoderTrainConfig:
    """All that the tuning of a text encoder depends on.

    Args:
        data: Which data.
        split: How interactions are split; items that it withholds are in no pair.
        text: What is told of items, and which model is tuned.
        pairs: Which texts belong together.
        batch_size: Pairs of a batch: each anchor is told from so many positives.
        hard_negatives: Items near an anchor, by the encoder as it is when an epoch begins, that each pair adds.
        temperature: What cosines are divided by.
        lora_rank: Tunes matrices of this rank beside the model's own, which stay as they are, and adds them in the end
            (LoRA, arXiv 2106.09685): for large models. 0 tunes the model itself.
        optimiser: How it is tuned.
        seed: Of draws and dropout.
    """

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=lambda: SplitConfig("leave-one-out"))
    text: ItemTextConfig = field(default_factory=ItemTextConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    batch_size: int = 64
    hard_negatives: int = 0
    temperature: float = 0.05
    lora_rank: int = 0
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            lr=5e-5, weight_decay=0.01, max_epochs=1, validate_every=1, gradient_clip=1.0, precision="auto"
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise InputError(f"batch_size is at least 2, so that there is something to be told from: {self.batch_size}")
        for name in ("hard_negatives", "lora_rank", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is 0 or more, got {getattr(self, name)}")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"temperature is a positive number, got {self.temperature}")
