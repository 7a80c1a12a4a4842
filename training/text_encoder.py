"""Tuning a text encoder on a project's own pairs of texts: its loss, and how it is validated.

Each anchor is to find its positive among those of the whole batch and some hard negatives: a softmax over cosines
divided by a temperature (the multiple-negatives loss of Henderson et al., arXiv 1705.00652).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from features.prepared import Prepared
from recsys.baselines import VectorKNN
from recsys.text_encoders.encoder import TextEncoder, batches
from training.evaluation import Evaluation, evaluate
from training.optimisers import configure
from training.text_batches import TextBatch
from training.text_encoder_config import TextEncoderTrainConfig

#: tokens that gradients are computed of at a time: a small encoder's layers hold up to a megabyte of each
PART_TOKENS = 4096

#: what is told of an encoder
FIGURES = ("recall@20", "ndcg@10", "hr@10")


class TextEncoderTraining(pl.LightningModule):
    """Tunes a `TextEncoder`; validation ranks the catalogue by the texts of what a user has had.

    Args:
        config: The run's configuration.
        prepared: The data.
        encoder: What is tuned.
        texts: Of the catalogue's items, in row order; None for an item without. (N,)
    """

    def __init__(
        self, config: TextEncoderTrainConfig, prepared: Prepared, encoder: TextEncoder, texts: Sequence[str | None]
    ) -> None:
        super().__init__()
        self.config = config
        self.model = encoder.train()  # Lightning leaves modules in the mode that they are in
        self._prepared, self._texts = prepared, texts
        self.strict_loading = not config.lora_rank  # checkpoints lack what is not tuned

    def on_train_epoch_start(self) -> None:
        """Makes dropout depend on the seed and the epoch alone, so that a resumed run equals an undisturbed one."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: TextBatch, _: int) -> Tensor:
        """Mean cross-entropy of the anchors, in nats."""
        anchors, candidates = in_parts(self.model, batch.anchors), in_parts(self.model, batch.candidates)
        with torch.autocast(self.device.type, enabled=False):  # differences between cosines are small
            scores = anchors.float() @ candidates.float().T / self.config.temperature  # (B, B + H)
        scores = scores.masked_fill(batch.together.to(scores.device), -torch.inf)
        loss = cross_entropy(scores, torch.arange(len(scores), device=scores.device))
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(scores))
        return loss

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Tokens are few, and the encoder puts them where it is."""
        return batch

    def validation_step(self, *_: Any) -> None:
        """Logs how well texts alone find the validation items."""
        figures = text_figures(self._prepared, vectors_of(self.model, self._texts), "validation")
        for name in FIGURES:
            self.log(f"validation/{name}", figures[name], batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out what is not tuned, which of a large model with matrices of a low rank is nearly everything."""
        if not self.strict_loading:
            tuned = {name for name, weight in self.named_parameters() if weight.requires_grad}
            checkpoint["state_dict"] = {name: one for name, one in checkpoint["state_dict"].items() if name in tuned}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """See `training.optimisers.configure`."""
        return configure(self, self.config.optimiser)


def in_parts(encoder: TextEncoder, tokens: Sequence[Sequence[int]], part_tokens: int = PART_TOKENS) -> Tensor:
    """The vectors of tokenised texts, for training: of many or long ones some at a time, of similar length.

    What layers have computed is then not kept for the gradients but computed again, a part after the other, so that
    memory grows with a part and not with the batch (as GradCache has it: Gao et al., arXiv 2101.06983). It costs a
    third more time.

    Args:
        encoder: Whose vectors.
        tokens: Each text's. (B,)
        part_tokens: Of a part, padding included.

    Returns:
        (B, V)
    """
    parts = list(batches([len(one) for one in tokens], part_tokens))
    if len(parts) < 2:
        return encoder(tokens)
    vectors = torch.cat([checkpoint(encoder, [tokens[row] for row in part], use_reentrant=False) for part in parts])
    return vectors[torch.tensor([row for part in parts for row in part], device=vectors.device).argsort()]


def vectors_of(encoder: TextEncoder, texts: Sequence[str | None]) -> np.ndarray:
    """The vectors of texts; zeros for None. (n,) -> (n, V) float32"""
    told = {n: one for n, one in enumerate(texts) if one is not None}
    vectors = np.zeros((len(texts), encoder.size), np.float32)
    vectors[list(told)] = encoder.encode(list(told.values()))
    return vectors


def text_figures(prepared: Prepared, vectors: np.ndarray, part: str) -> dict[str, float]:
    """How well texts alone find the items of a part, by their cosines with those of the history: `FIGURES`.

    Args:
        prepared: The data.
        vectors: Of the catalogue's texts. (N, V)
        part: "validation" or "test".
    """
    evaluation, ranker = Evaluation(prepared, part), VectorKNN().fit(vectors)
    found = evaluate(evaluation, lambda users: ranker.scorer(evaluation.histories.rows(users)))
    return {name: found[name] for name in FIGURES}
