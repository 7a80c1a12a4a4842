"""A ranker's run, whole: examples, fit, the best epoch on validation, and the test part read once."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl
import torch
from scipy.special import expit

from features.dataset import Dataset
from features.errors import InputError
from features.labelled import LabelledExamples, LabelRule
from features.prepared import Prepared
from features.splits import TEST, TRAIN, VALIDATION
from recsys.auc import log_loss, roc_auc
from recsys.matching.calibration import reliability
from recsys.ranking import Ranker
from training.data import load, split
from training.fit import Fitted, fit_module
from training.fit_options import FitOptions
from training.ranking import MONITOR, PartBatches, RankerTraining, RankingConfig, RankingData


@dataclass(frozen=True)
class RankerResult:
    """What a ranker's run came to.

    Args:
        figures: Test AUC and log loss, validation AUC, best epoch, parameters, seconds: what `--json` prints.
        model: With the weights of the best epoch, for plain torch, in evaluation mode; None on processes other than
            the first.
        reliability: Of the test part: see `recsys.matching.calibration.reliability`.
    """

    figures: dict[str, Any]
    model: Ranker | None
    reliability: list[tuple[float, float, int]]

    def __repr__(self) -> str:
        return f"RankerResult(test AUC {self.figures['auc']:.4f})" if "auc" in self.figures else "RankerResult()"


def fit_ranker(
    config: RankingConfig,
    examples: LabelledExamples,
    folder: Path,
    *,
    epochs: int | None = None,
    **options: Unpack[FitOptions],
) -> Fitted[Ranker]:
    """Fits a ranker; the test part is not read.

    Args:
        config: The run's configuration.
        examples: What it learns from.
        folder: Where checkpoints go.
        epochs: Fit exactly so many epochs and validate nothing: how a model is refitted on all data.
        options: initial, resume, report, say, callbacks and progress, as `training.fit.fit_module` takes them.

    Raises:
        InputError: A part without both labels, or settings that cannot be used.
    """
    check_both_labels(examples, ("training", "validation") if epochs is None else ("training",))
    plain = _without_memory(config, examples)
    parameters = plain.embeddings.layout.parameters if plain.sparse else 0
    tables = config.optimiser.for_tables(parameters)
    training: type[RankerTraining] = RankerTraining
    data: type[RankingData] = RankingData
    hashing: dict[str, Any] = {}
    if config.optimiser.pipeline:
        from training.pipeline import PipelinedRankerTraining, PipelinedRankingData

        training, data, hashing = PipelinedRankerTraining, PipelinedRankingData, {"ranker": plain.train()}
    torch.manual_seed(config.seed)
    return fit_module(
        training(config, examples, config.optimiser.lookups_by(parameters)),
        data(examples, config, **hashing),
        config.optimiser,
        folder,
        tables=tables,
        monitor=MONITOR if epochs is None else None,
        batch_size=config.batch_size,
        seed=config.seed,
        epochs=epochs,
        **options,
    ).of(plain)


def train_ranker(
    config: RankingConfig,
    data: Prepared | LabelledExamples | None,
    folder: Path,
    **options: Unpack[FitOptions],
) -> RankerResult:
    """Fits a ranker and measures it: the epoch is chosen on validation, and test is read once.

    Args:
        config: All that figures depend on.
        data: What to train on; the configured data where not given.
        folder: Where checkpoints go.
        options: As `fit_ranker`.

    Raises:
        InputError: Data or settings that cannot be used.
    """
    began = time.perf_counter()
    data = prepare_labelled(config) if data is None else data
    examples = data if isinstance(data, LabelledExamples) else LabelledExamples.of_prepared(data, config.labels)
    check_both_labels(examples)
    fitted = fit_ranker(config, examples, folder, **options)
    model, figures = fitted.model, {"model": "ranker", "seed": config.seed, "examples": len(examples)}
    if isinstance(data, Prepared):
        dataset, split = data.dataset, data.split
        figures |= {"dataset": dataset.name, "dataset_hash": dataset.sha256}
        figures |= {"split": split.name, "split_hash": split.sha256}
    bins = []
    if model is not None:
        labels, logits = ranker_scores(model, examples, TEST)
        figures |= _told_apart(labels, logits)
        bins = reliability(expit(logits), labels)
        figures["parameters"] = sum(weight.numel() for weight in model.parameters())
        figures["embedding_parameters"] = model.embeddings.layout.parameters if model.sparse else 0
    figures |= {"validation_auc": fitted.validation, "best_epoch": fitted.best_epoch}
    return RankerResult(figures | {"seconds": time.perf_counter() - began}, model, bins)


def check_usable(config: RankingConfig, examples: LabelledExamples) -> None:
    """Finds out, before anything is written, what training would stumble over.

    Raises:
        InputError: A part without both labels, or a model that cannot be made or not be trained so.
    """
    check_both_labels(examples)
    _without_memory(config, examples)


def _without_memory(config: RankingConfig, examples: LabelledExamples) -> Ranker:
    """The ranker for plain torch, without memory for its weights."""
    with torch.device("meta"):
        plain = Ranker(config.model, examples.features, examples.vocabularies)
    if config.optimiser.pipeline:
        from training.pipeline import check_pipelined

        check_pipelined(plain, config.optimiser)
    return plain


def evaluate_ranker(model: Ranker, examples: LabelledExamples, part: int) -> dict[str, float]:
    """AUC and log loss over all examples of a part, on the device the model is on.

    Args:
        model: In evaluation mode.
        examples: With the same features.
        part: VALIDATION or TEST.
    """
    return _told_apart(*ranker_scores(model, examples, part))


@torch.no_grad()
def ranker_scores(model: Ranker, examples: LabelledExamples, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits of all examples of a part, on the host: see `evaluate_ranker`. (n,), (n,)"""
    device = next(model.parameters()).device
    labels, logits = [], []
    for batch in PartBatches(examples, part):
        labels.append(batch.labels.numpy())
        logits.append(model(batch.features.to(device=device)).float().cpu().numpy())
    return np.concatenate(labels), np.concatenate(logits)


def _told_apart(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
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


def check_both_labels(examples: LabelledExamples, parts: tuple[str, ...] = ("training", "validation", "test")) -> None:
    """Finds out, before training, that a part has nothing to learn from or nothing to measure on.

    Raises:
        InputError: A part without a positive, or without a negative.
    """
    for name in parts:
        labels = examples.labels[examples.part({"training": TRAIN, "validation": VALIDATION, "test": TEST}[name])]
        for kind, count in (("positive", int(labels.sum())), ("negative", int(len(labels) - labels.sum()))):
            if not count:
                raise InputError(f"the {name} part has {len(labels)} examples and no {kind} one among them")
