"""From a model's folder to an encoder, without running its code or unpickling anything."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn

from features.errors import InputError
from recsys.precision import multiplies_bf16
from recsys.text_encoders import nv_embed
from recsys.text_encoders.config import TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.folders import POOLING_WEIGHTS, Recipe, fingerprint, folder_of, recipe_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: no limit
_ANY = 1 << 30


def load_encoder(config: TextEncoderConfig) -> TextEncoder:
    """Reads a model, in evaluation mode, onto the GPU where there is one.

    None of the code that it may bring is run, and nothing is unpickled.

    Raises:
        InputError: No such model, or one that cannot be used.
    """
    folder = folder_of(config.model, config.revision)
    with _told(config, folder):
        recipe = recipe_of(folder)
        model, tokenizer = _read(recipe, config)
        pooling = config.pooling
        if pooling == "auto":
            pooling = recipe.pooling or ("last" if _causal(model) else "mean")
        own = pooling == recipe.pooling
        places = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        takes = (recipe.max_tokens, places, tokenizer.model_max_length)
        encoder = TextEncoder(
            config,
            model,
            tokenizer,
            pooling,
            recipe.settings if own else {},
            _dense(recipe.dense),
            config.tokens(min(one or _ANY for one in takes)),
        )
        if encoder.pool is not None:
            if not own:
                _reset(encoder.pool)
            elif recipe.is_nv_embed:
                encoder.pool.load_state_dict(nv_embed.pooling_weights(recipe.model))
            else:
                encoder.pool.load_state_dict(load_file(folder / POOLING_WEIGHTS))
            encoder.pool.to(model.dtype)
    encoder = encoder.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    if config.bidirectional:
        _check_bidirectional(encoder)
    return encoder


def facts_of(config: TextEncoderConfig) -> dict[str, Any]:
    """All that an encoder's vectors depend on besides the text, as JSON; nothing is loaded for it.

    Raises:
        InputError: No such model.
    """
    asked = dataclasses.asdict(config)
    del asked["model"], asked["revision"]  # whatever it is called: what it holds says which it is
    if not config.layers:
        del asked["layers"]  # as it was named before one could ask for it, so that what is kept stays known
    precision = str(precision_of(config)).removeprefix("torch.")
    return {**asked, "fingerprint": fingerprint(folder_of(config.model, config.revision)), "precision": precision}


def precision_of(config: TextEncoderConfig) -> torch.dtype:
    """What the weights are held and multiplied in, on this machine."""
    if config.precision != "auto":
        return torch.float32 if config.precision == "fp32" else torch.bfloat16
    return torch.bfloat16 if multiplies_bf16() else torch.float32


@contextlib.contextmanager
def _told(config: TextEncoderConfig, folder: Path) -> Iterator[None]:
    """Says in one sentence what a model cannot be loaded for; of what transformers says meanwhile, errors alone."""
    quiet = logging.getLogger("transformers")
    level = quiet.level
    try:
        quiet.setLevel(logging.ERROR)  # heads that are not loaded are none
        yield
    except InputError:
        raise
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise InputError(f"the text encoder {config.model!r} needs the extra 'text': pip install '.[text]'") from None
    except Exception as error:  # whatever files can hold, and their libraries say of it
        why = " ".join(str(error).split())[:300]
        raise InputError(f"the text encoder {config.model!r} cannot be loaded from {folder}: {why}") from error
    finally:
        quiet.setLevel(level)


def _read(recipe: Recipe, config: TextEncoderConfig) -> tuple[PreTrainedModel, Any]:
    """The language model and its tokenizer."""
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(recipe.model, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise InputError(
            f"{recipe.model} holds no tokenizer.json, and without it nobody knows where tokens end in a text"
        )
    model: PreTrainedModel
    if recipe.is_nv_embed:
        model = nv_embed.language_model(recipe.model, recipe.said, precision_of(config))
        nv_embed.end_texts(tokenizer)
    else:
        model = _language_model(recipe.model, config)
    told = model.config.get_text_config()
    told.use_cache = False  # of what came before, for a text that goes on
    if getattr(told, "is_causal", True) is False:  # which says what masks are made
        for module in model.modules():
            if hasattr(module, "is_causal"):
                # where no mask is; torch's types know tensors and modules alone as what a module has
                module.is_causal = False  # type: ignore[assignment]
    return model, tokenizer


def _language_model(folder: Path, config: TextEncoderConfig) -> PreTrainedModel:
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    settings = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    told = settings.get_text_config()
    if config.bidirectional:
        told.is_causal = False
    if config.layers:
        if config.layers > told.num_hidden_layers:
            raise InputError(
                f"text.encoder.layers is {config.layers}, and {config.model!r} has {told.num_hidden_layers}"
            )
        told.num_hidden_layers = config.layers
    kind = AutoModelForTextEncoding if settings.is_encoder_decoder else AutoModel
    return kind.from_pretrained(
        folder, config=settings, dtype=precision_of(config), use_safetensors=True, trust_remote_code=False
    )


def _causal(model: nn.Module) -> bool:
    """Whether tokens see those before them alone."""
    return any(getattr(module, "is_causal", False) is True for module in model.modules())


@torch.inference_mode()
def _check_bidirectional(encoder: TextEncoder) -> None:
    """Refuses a model whose first token does not come to know the second, with a mask or without."""
    model = encoder.model
    some, other, mask = (torch.tensor([ids], device=model.device) for ids in ([1, 2, 1], [1, 3, 1], [1, 1, 0]))
    for told in ({}, {"attention_mask": mask}):
        first, second = (model(input_ids=ids, **told).last_hidden_state[0, 0] for ids in (some, other))
        if torch.equal(first, second):
            raise InputError(
                f"text.encoder.bidirectional is asked of {encoder.config.model!r}, whose kind of model does not know "
                "how to; leave it out"
            )


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
    """First weights, to be trained; always the same ones, so that what is stored belongs to them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in sorted(pool.named_parameters()):
            if "norm" not in name:
                weight.normal_(std=0.02, generator=generator)
