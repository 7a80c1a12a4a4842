"""The tuning of a text encoder, whole: pairs, fit, the best epoch on validation, the encoder's folder, figures."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from features.errors import InputError
from features.item_text import item_sentences
from features.prepared import Prepared
from features.text_pairs import PairSource
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.loading import load_encoder
from recsys.text_encoders.saving import save_encoder
from training.fit import FitOptions, fit_module
from training.text_encoder import (
    MONITOR,
    TextEncoderTrainConfig,
    TextEncoderTraining,
    TextPairData,
    text_figures,
    vectors_of,
)

#: the figures of a run: of the encoder as it was, and as it has become
FIGURES = ("recall@20", "ndcg@10", "hr@10")


def tune(
    config: TextEncoderTrainConfig,
    prepared: Prepared,
    folder: Path,
    *,
    say: Callable[[str], None] = lambda line: None,
    **options: Unpack[FitOptions],
) -> dict[str, Any]:
    """Tunes an encoder, and writes it into `folder / "encoder"`: what `text.encoder.model` then names.

    Args:
        config: The run's configuration.
        prepared: The data.
        folder: Of the run.
        say: Called with a line whenever a stage begins.
        options: As `training.fit.fit_module` takes them.

    Returns:
        Figures on the test part, read once: how well texts alone find items, before and after.

    Raises:
        InputError: Data in which no texts belong together, or a model that cannot be tuned.
    """
    began = time.perf_counter()
    encoder = load_encoder(config.text.encoder)
    pairs = PairSource(prepared, config.text.columns, config.text.prefix, config.pairs)
    items = prepared.dataset.items[np.argsort(prepared.items.rows(prepared.dataset.items["item_id"]))]
    told = item_sentences(items, config.text.columns, encoder.room, encoder.token_ends, config.text.prefix)
    texts = told.texts.to_list()
    say("measuring the encoder as it is")
    frozen = text_figures(prepared, vectors_of(encoder, texts), "test")
    if config.lora_rank:
        encoder.model = _with_lora(encoder, config.lora_rank)
    outcome = fit_module(
        TextEncoderTraining(config, prepared, encoder, texts),
        TextPairData(pairs, config, encoder),
        config.optimiser,
        folder / "checkpoints",
        monitor=MONITOR,
        batch_size=config.batch_size,
        seed=config.seed,
        say=say,
        **options,
    )
    encoder.load_state_dict(outcome.weights)
    encoder.eval()
    if config.lora_rank:
        encoder.model = encoder.model.merge_and_unload()
    say("writing the encoder and measuring it on the test part")
    with tempfile.TemporaryDirectory(prefix=".encoder.", dir=folder) as part:
        save_encoder(encoder, Path(part) / "encoder")
        shutil.rmtree(folder / "encoder", ignore_errors=True)
        (Path(part) / "encoder").rename(folder / "encoder")
    tuned = text_figures(prepared, vectors_of(encoder, texts), "test")
    return {
        "dataset": prepared.dataset.name,
        "split": prepared.split.name,
        "split_hash": prepared.split.sha256,
        "seed": config.seed,
        **{name: tuned[name] for name in FIGURES},
        **{f"frozen_{name}": frozen[name] for name in FIGURES},
        "validation_ndcg@10": outcome.value,
        "best_epoch": outcome.best_epoch,
        "encoder": str(folder / "encoder"),
        "seconds": time.perf_counter() - began,
    }


def _with_lora(encoder: TextEncoder, rank: int) -> Any:
    """The encoder's model with matrices of a low rank beside its own, which alone are tuned."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("lora_rank needs the extra 'text': pip install '.[text]'") from None
    return get_peft_model(encoder.model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
