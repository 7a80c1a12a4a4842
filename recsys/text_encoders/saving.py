"""An encoder as a folder that `load_encoder` reads, and sentence-transformers too, if its pooling has no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from features.errors import InputError
from recsys.text_encoders.encoder import TextEncoder
from recsys.text_encoders.folders import POOLING, POOLING_WEIGHTS


def save_encoder(encoder: TextEncoder, folder: Path) -> None:
    """Writes an encoder; what it is asked for besides, such as bidirectional attention, is its configuration's.

    Args:
        encoder: A loaded one, trained or not.
        folder: Made where it does not exist.

    Raises:
        InputError: An encoder with layers after its pooling.
    """
    check_can_be_saved(encoder)
    folder.mkdir(parents=True, exist_ok=True)
    encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": encoder.max_tokens, "do_lower_case": False})
    if encoder.pool is not None:
        _write(folder / POOLING, {"kind": encoder.pooling, "settings": encoder.settings})
        save_file({name: one.contiguous() for name, one in encoder.pool.state_dict().items()}, folder / POOLING_WEIGHTS)
        return
    package = "sentence_transformers.models"
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    _write(
        folder / "modules.json",
        [{"idx": int(n), "name": n, "path": path, "type": f"{package}.{kind}"} for n, path, kind in modules],
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}
    _write(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": encoder.model.config.get_text_config().hidden_size,
            **{f"pooling_mode_{mode}": mode == modes[encoder.pooling] for mode in modes.values()},
        },
    )


def check_can_be_saved(encoder: TextEncoder) -> None:
    """Refuses an encoder that `save_encoder` cannot write: before it is trained.

    Raises:
        InputError: An encoder with layers after its pooling.
    """
    if any(True for _ in encoder.dense.parameters()):
        raise InputError(f"the text encoder {encoder.config.model!r} has layers after pooling, which cannot be written")


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")
