"""NV-Embed's folders, read without the code that they bring: a Mistral that sees both ways, and attention over latents.

Lee et al., 'NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models' (arXiv 2405.17428). The
weights are those of transformers' own Mistral and of `recsys.text_encoders.pooling.LatentAttention`, by other names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor

if TYPE_CHECKING:
    from transformers import MistralModel

#: what a folder's config.json calls the kind of model
KIND = "nvembed"

_MODEL, _POOLING = "embedding_model.", "latent_attention_model."

#: their names of the pooling's parts, and ours
_PARTS = {
    "cross_attend_blocks.0.norm.": "attend.norm.",
    "cross_attend_blocks.0.norm_context.": "attend.norm_context.",
    "cross_attend_blocks.0.fn.": "attend.",
    "cross_attend_blocks.1.norm.": "attend.norm_after.",
    "cross_attend_blocks.1.fn.net.0.": "attend.widen.",
    "cross_attend_blocks.1.fn.net.2.": "attend.narrow.",
}


def pooling_settings(said: Mapping[str, Any]) -> dict[str, int]:
    """The sizes of the pooling, by what a folder's config.json says; published ones where it says nothing."""
    latent = said.get("latent_attention_config") or {}
    published = {"num_latents_value": 512, "num_cross_heads": 8, "cross_dim_head": 4096}
    return dict(
        zip(("latents", "heads", "head_dim"), (latent.get(name, size) for name, size in published.items()), strict=True)
    )


def pooling_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of `LatentAttention`."""
    weights = {}
    for name, weight in _weights(folder, _POOLING).items():
        theirs = next((part for part in _PARTS if name.startswith(part)), "")
        weights[_PARTS.get(theirs, "") + name.removeprefix(theirs)] = weight
    return weights


def language_model(folder: Path, said: Mapping[str, Any], dtype: torch.dtype) -> MistralModel:
    """The language model, whose tokens see each other.

    Args:
        folder: With its weights.
        said: What its config.json says.
        dtype: Of the weights.
    """
    from transformers import MistralConfig, MistralModel

    text = {name: value for name, value in said["text_config"].items() if name not in ("model_type", "architectures")}
    settings = MistralConfig(**{**text, "sliding_window": None})
    settings.is_causal = False
    return MistralModel.from_pretrained(None, config=settings, state_dict=_weights(folder, _MODEL), dtype=dtype)


def end_texts(tokenizer: Any) -> None:
    """Has a tokenizer put the token of a text's end behind each, as the model was trained."""
    from tokenizers.processors import TemplateProcessing

    first, last = tokenizer.bos_token, tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{first} $A {last}",
        special_tokens=[(first, tokenizer.bos_token_id), (last, tokenizer.eos_token_id)],
    )


def _weights(folder: Path, prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin so, without that."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            found |= {name.removeprefix(prefix): file.get_tensor(name) for name in names if name.startswith(prefix)}
    return found
