"""A ranker's run, whole: examples, fit, the best epoch on validation, and the test part read once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from features.dataset import Dataset
from features.errors import InputError
from features.labelled import LabelledExamples, LabelRule
from features.prepared import Prepared
from features.splits import TEST, TRAIN, VALIDATION
from recsys.auc import log_loss, roc_auc
from recsys.ranking import Ranker
from training.data import load, split
from training.ranking import MONITOR, PartBatches, RankerTraining, RankingConfig, RankingData


@dataclass(frozen=True)
class RankerResult:
    """What a ranker's run came to.

    Args:
        figures: Test AUC and log loss, validation AUC, best epoch, parameters, seconds: what `--json` prints.
        model: With the weights of the best epoch, for plain torch, in evaluation mode.
    """

    figures: dict[str, Any]
    model: Ranker


def train_ranker(
    config: RankingConfig,
    data: Prepared | LabelledExamples | None,
    folder: Path,
    *,
    resume: bool = False,
    report: Callable[[dict[str, float], int], None] = lambda figures, epoch: None,
    progress: bool = True,
) -> RankerResult:
    """Fits a ranker and measures it.

    Args:
        config: All that figures depend on.
        data: What to train on; the configured data where not given.
        folder: Where checkpoints go.
        resume: Go on from the folder's last checkpoint where there is one.
        report: Called after each epoch with its metrics and its number, from 1.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        InputError: Data or settings that cannot be used.
    """
    began = time.perf_counter()
    data = prepare_labelled(config) if data is None else data
    examples = data if isinstance(data, LabelledExamples) else LabelledExamples.of_prepared(data, config.labels)
    check_both_labels(examples)
    torch.manual_seed(config.seed)
    module = RankerTraining(config, examples)
    state, best_epoch, value = _fit(module, RankingData(examples, config), config)
    model = Ranker(config.model, examples.features, examples.vocabularies)
    model.load_state_dict(state)
    figures = {
        "model": "ranker",
        **(_of_data(data) if isinstance(data, Prepared) else {}),
        "seed": config.seed,
        **evaluate_ranker(model.eval(), examples, TEST),
        "validation_auc": value,
        "best_epoch": best_epoch,
        "examples": len(examples),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "embedding_parameters": model.embeddings.layout.parameters if model.sparse else 0,
        "seconds": time.perf_counter() - began,
    }
    return RankerResult(figures, model)


@torch.no_grad()
def evaluate_ranker(model: Ranker, examples: LabelledExamples, part: int) -> dict[str, float]:
    """AUC and log loss over all examples of a part, on the device the model is on.

    Args:
        model: In evaluation mode.
        examples: With the same features.
        part: VALIDATION or TEST.
    """
    device = next(model.parameters()).device
    labels, logits = [], []
    for batch in PartBatches(examples, part):
        labels.append(batch.labels.numpy())
        logits.append(model(batch.features.to(device=device)).float().cpu().numpy())
    labels, logits = np.concatenate(labels), np.concatenate(logits)
    return {"auc": roc_auc(labels, logits), "logloss": log_loss(labels, logits)}


def prepare_labelled(config: RankingConfig) -> Prepared:
    """Loads the configured data, leaves out what is no example, and splits the rest."""
    dataset = labelled_only(load(config.data), config.labels)
    return Prepared.of(dataset, split(config.split, dataset))


def labelled_only(dataset: Dataset, rule: LabelRule) -> Dataset:
    """Without the interactions that the rule makes neither positive nor negative, such as ratings in the middle.

    Left out before the split, they count in no part: neither in its share, nor as what training knows.

    Raises:
        InputError: No such label column, or not one example.
    """
    if not rule.column:
        return dataset
    there = ~np.isnan(rule.labels(dataset.interactions))
    if not there.any():
        raise InputError(
            f"no interaction has a {rule.column!r} of at least {rule.at_least:g} or at most {rule.at_most:g}"
        )
    return dataclasses.replace(dataset, interactions=dataset.interactions.filter(pl.Series(there)))


def check_both_labels(examples: LabelledExamples) -> None:
    """Finds out, before training, that a part has nothing to learn from or nothing to measure on.

    Raises:
        InputError: A part without a positive, or without a negative.
    """
    for name, part in (("training", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        labels = examples.labels[examples.part(part)]
        for kind, count in (("positive", int(labels.sum())), ("negative", int(len(labels) - labels.sum()))):
            if not count:
                raise InputError(f"the {name} part has {len(labels)} examples and no {kind} one among them")


def _of_data(prepared: Prepared) -> dict[str, str]:
    dataset, split = prepared.dataset, prepared.split
    return {
        "dataset": dataset.name,
        "dataset_hash": dataset.sha256,
        "split": split.name,
        "split_hash": split.sha256,
    }


def _fit(module, data, config):
    import pytorch_lightning as lightning

    class Best(lightning.Callback):
        value, epoch, state, bad = -1.0, 0, {}, 0

        def on_validation_end(self, trainer, module):
            value = float(trainer.callback_metrics[MONITOR])
            self.bad += 1
            if value > self.value:
                self.value, self.epoch, self.bad = value, trainer.current_epoch + 1, 0
                self.state = {key: one.detach().cpu().clone() for key, one in module.model.state_dict().items()}
            trainer.should_stop = self.bad >= config.optimiser.patience

    best = Best()
    trainer = lightning.Trainer(
        max_epochs=config.optimiser.max_epochs,
        accelerator="auto",
        devices=1,
        logger=False,
        callbacks=[best],
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    return best.state, best.epoch, best.value
