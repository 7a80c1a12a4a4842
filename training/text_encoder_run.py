"""The tuning of a text encoder, whole: pairs, fit, the best epoch on validation, the encoder's folder, figures."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch

from features.errors import InputError
from features.item_text import item_sentences
from features.prepared import Prepared
from features.text_pairs import PairSource
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.loading import load_encoder
from recsys.text_encoders.saving import check_can_be_saved, save_encoder
from training.fit import fit_module
from training.fit_options import OtherFitOptions
from training.ranked_validation import MONITOR
from training.text_batches import TextPairData
from training.text_encoder import TextEncoderTraining, text_figures, vectors_of
from training.text_encoder_config import TextEncoderTrainConfig
from training.texts import write_tuned_on


@dataclass(frozen=True, eq=False)
class Tuning:
    """A tuning that can begin: whatever it would stumble over has been found out, and nothing has been written.

    Args:
        config: The run's configuration.
        prepared: The data.
        encoder: What is tuned.
        texts: Of the catalogue's items, in row order; None for an item without. (N,)
        data: Pairs of texts.
    """

    config: TextEncoderTrainConfig
    prepared: Prepared
    encoder: TextEncoder
    texts: Sequence[str | None]
    data: TextPairData

    @classmethod
    def of(cls, config: TextEncoderTrainConfig, prepared: Prepared) -> Tuning:
        """Loads the encoder and looks for pairs.

        Raises:
            InputError: Data in which no texts belong together or nothing is to be found, or a model that cannot be
                tuned.
        """
        for part, there in (("validation", prepared.validation), ("test", prepared.test)):
            if not len(there.values):
                raise InputError(f"the data set {prepared.dataset.name!r} has no {part} interaction under this split")
        told = config.text
        pairs = PairSource(prepared, told.columns, told.prefix, config.pairs)
        encoder = load_encoder(_precise(config))
        check_can_be_saved(encoder)
        sentences = item_sentences(prepared.item_frame, told.columns, encoder.room, encoder.token_ends, told.prefix)
        if config.lora_rank:
            torch.manual_seed(config.seed)
            encoder.model = _with_lora(encoder, config.lora_rank)
            if encoder.pool is not None:  # which is tuned itself
                encoder.pool.float()
        return cls(config, prepared, encoder, sentences.texts.to_list(), TextPairData(pairs, config, encoder))

    def run(
        self, folder: Path, say: Callable[[str], None] = lambda line: None, **options: Unpack[OtherFitOptions]
    ) -> dict[str, Any]:
        """Tunes, once, and writes the encoder into `folder / "encoder"`: what `text.encoder.model` then names.

        Args:
            folder: Of the run.
            say: Called with a line whenever a stage begins.
            options: As `training.fit.fit_module` takes them.

        Returns:
            Figures on the test part, read once: how well texts alone find items, before and after.
        """
        began, config, encoder = time.perf_counter(), self.config, self.encoder
        say("measuring the encoder as it is")
        frozen = self._figures(encoder)
        say(f"tuning on pairs of the kind {config.pairs.kind}: {self.data.extent}")
        outcome = fit_module(
            TextEncoderTraining(config, self.prepared, encoder, self.texts),
            self.data,
            config.optimiser,
            folder / "checkpoints",
            monitor=MONITOR,
            batch_size=config.batch_size,
            seed=config.seed,
            say=say,
            **options,
        )
        encoder.load_state_dict(outcome.weights, strict=not config.lora_rank)
        encoder.eval()
        if config.lora_rank:
            tuned: Any = encoder.model  # of peft
            encoder.model = tuned.merge_and_unload()
        say("writing the encoder and measuring it on the test part")
        with tempfile.TemporaryDirectory(prefix=".encoder.", dir=folder) as part:
            save_encoder(encoder, Path(part) / "encoder")
            write_tuned_on(Path(part) / "encoder", self.prepared)
            shutil.rmtree(folder / "encoder", ignore_errors=True)
            (Path(part) / "encoder").rename(folder / "encoder")
        # what is measured is what will be used
        written = dataclasses.replace(_precise(config), model=str(folder / "encoder"), revision="")
        tuned = self._figures(load_encoder(written))
        if tuned["validation"][MONITOR.partition("/")[2]] <= frozen["validation"][MONITOR.partition("/")[2]]:
            say("note: the encoder as it was finds the validation items at least as well (NDCG@10)")
        return {
            "dataset": self.prepared.dataset.name,
            "split": self.prepared.split.name,
            "split_hash": self.prepared.split.sha256,
            "pairs": config.pairs.kind,
            "seed": config.seed,
            **tuned["test"],
            **{f"frozen_{name}": one for name, one in frozen["test"].items()},
            **{f"validation_{name}": one for name, one in tuned["validation"].items()},
            **{f"frozen_validation_{name}": one for name, one in frozen["validation"].items()},
            "best_epoch": outcome.best_epoch,
            "encoder": str(folder / "encoder"),
            "seconds": time.perf_counter() - began,
        }

    def _figures(self, encoder: TextEncoder) -> dict[str, dict[str, float]]:
        """How well texts alone find the items of both parts."""
        vectors = vectors_of(encoder, self.texts)
        return {part: text_figures(self.prepared, vectors, part) for part in ("validation", "test")}


def tune(config: TextEncoderTrainConfig, prepared: Prepared, folder: Path, **options: Any) -> dict[str, Any]:
    """Tunes a text encoder: `Tuning.of` and `Tuning.run` in one."""
    return Tuning.of(config, prepared).run(folder, **options)


def _precise(config: TextEncoderTrainConfig) -> TextEncoderConfig:
    """The encoder in fp32: steps are too small for the numbers of bf16. Matrices of a low rank are so anyway."""
    asked = config.text.encoder
    return asked if config.lora_rank else dataclasses.replace(asked, precision="fp32")


def _with_lora(encoder: TextEncoder, rank: int) -> Any:
    """The encoder's model with matrices of a low rank beside its own, which alone are tuned.

    Raises:
        InputError: The library is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("lora_rank needs the extra 'text': pip install '.[text]'") from None
    return get_peft_model(encoder.model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
