"""From a model's folder to an encoder, without running its code or unpickling anything."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from features.errors import InputError
from recsys.text_encoders.config import TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.folders import POOLING_WEIGHTS, fingerprint, folder_of, recipe_of


def load_encoder(config: TextEncoderConfig) -> TextEncoder:
    """Reads a model, in evaluation mode; none of its code is run, and nothing is unpickled.

    Raises:
        InputError: No such model, or one that cannot be used.
    """
    try:
        from transformers import AutoConfig, AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging
    except ImportError:
        raise InputError(f"the text encoder {config.model!r} needs the extra 'text': pip install '.[text]'") from None
    folder = folder_of(config.model, config.revision)
    recipe = recipe_of(folder)
    transformers_logging.disable_progress_bar()
    try:
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        bidirectional = config.bidirectional or getattr(settings, "is_causal", True) is False  # as it was trained
        if bidirectional:
            settings.is_causal = False
        quiet = logging.getLogger("transformers")
        level, quiet.level = quiet.level, logging.ERROR  # of heads that are not loaded
        try:
            model = AutoModel.from_pretrained(
                folder, config=settings, dtype=precision_of(config), use_safetensors=True, trust_remote_code=False
            )
        finally:
            quiet.level = level
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        why = " ".join(str(error).split())[:300]
        raise InputError(f"the text encoder {config.model!r} cannot be loaded from {folder}: {why}") from None
    if not tokenizer.is_fast:
        raise InputError(f"the text encoder {config.model!r} has no tokenizer.json, so that texts cannot be shortened")
    causal = any(getattr(module, "is_causal", False) is True for module in model.modules())
    if bidirectional:  # of those without a mask, too
        for module in model.modules():
            if hasattr(module, "is_causal"):
                module.is_causal = False
    pooling = config.pooling
    if pooling == "auto":
        pooling = recipe.pooling or ("last" if causal else "mean")
    takes = min(
        recipe.max_tokens or 1 << 30,
        getattr(settings, "max_position_embeddings", None) or 1 << 30,
        tokenizer.model_max_length or 1 << 30,
    )
    own = pooling == recipe.pooling
    encoder = TextEncoder(
        config,
        model,
        tokenizer,
        pooling,
        recipe.settings if own else {},
        _dense(recipe.dense),
        config.tokens(takes),
    )
    if encoder.pool is not None:
        if own:
            encoder.pool.load_state_dict(load_file(folder / POOLING_WEIGHTS))
        else:  # to be trained; the same for the same model, so that what is stored belongs to it
            _reset(encoder.pool)
        encoder.pool.to(model.dtype)
    return encoder.eval()


def facts_of(config: TextEncoderConfig) -> dict[str, Any]:
    """All that an encoder's vectors depend on besides the text, as JSON; nothing is loaded for it.

    Raises:
        InputError: No such model.
    """
    asked = dataclasses.asdict(config)
    del asked["model"], asked["revision"]  # whatever it is called: what it holds says which it is
    precision = str(precision_of(config)).removeprefix("torch.")
    return {**asked, "fingerprint": fingerprint(folder_of(config.model, config.revision)), "precision": precision}


def precision_of(config: TextEncoderConfig) -> torch.dtype:
    """What the weights are held and multiplied in, on this machine."""
    if config.precision != "auto":
        return torch.float32 if config.precision == "fp32" else torch.bfloat16
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("amx_bf16") or able.get("avx512_bf16") else torch.float32


def _dense(folders: Sequence[Path]) -> nn.Sequential:
    """The linear layers of sentence-transformers' Dense modules."""
    activations = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU}
    layers: list[nn.Module] = []
    for folder in folders:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        activation = settings.get("activation_function", "torch.nn.modules.activation.Tanh").rpartition(".")[2]
        if activation not in activations:
            raise InputError(f"{folder} has the activation {activation!r}, which is not known here")
        linear = nn.Linear(settings["in_features"], settings["out_features"], bias=settings.get("bias", True))
        weights = load_file(folder / "model.safetensors")
        linear.load_state_dict({name.removeprefix("linear."): one for name, one in weights.items()})
        layers += [linear, activations[activation]()]
    return nn.Sequential(*layers)


def _reset(pool: nn.Module) -> None:
    """First weights that are the same for the same pooling."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in sorted(pool.named_parameters()):
            if "norm" not in name:
                weight.normal_(std=0.02, generator=generator)
