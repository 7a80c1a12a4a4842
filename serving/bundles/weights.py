"""The weights of a bundle's models: written in its precision, read back name by name, type by type, shape by shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from recsys.embeddings.quantised import is_table, make_room, quantised_state
from recsys.precision import Precision
from serving.bundles.sealed import BundleError

Model = TypeVar("Model", bound=nn.Module)


class _Unfilled(TorchFunctionMode):
    """Does not fill tensors with normal numbers: on the meta device, torch imports half of itself for that, in 3 s."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in (torch.Tensor.normal_, nn.init.normal_):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_weights() -> Iterator[None]:
    """Models made inside take no memory, and no time to fill it, for weights that are loaded anyway."""
    with torch.device("meta"), _Unfilled():
        yield


def save_weights(path: Path, model: nn.Module, precision: Precision) -> None:
    """Writes a model's weights as a safetensors file.

    Args:
        path: The file.
        model: Of either backend.
        precision: Of the tables; other weights are written in half precision where it is not "fp32".

    Raises:
        InputError: A weight that the precision cannot hold, by name.
    """
    save_file(quantised_state(model, precision), path)


def load_weights(path: Path, model: Model, precision: Precision, described: str) -> Model:
    """Fills a model with the weights of a file; tables keep their precision in memory, other weights become fp32.

    Args:
        path: What `save_weights` wrote.
        model: Made `without_weights`; changed in place.
        precision: What the bundle says the file has.
        described: The file that the model was made from, for errors.

    Returns:
        The model, in evaluation mode.

    Raises:
        BundleError: Weights that are not this model's, by name.
    """
    with torch.device("meta"):
        make_room(model, precision)
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise BundleError(f"{path.name} cannot be read: {' '.join(str(error).split())[:300]}") from error
    expected = model.state_dict()
    for name in sorted({*expected, *weights}):
        if name not in weights or name not in expected:
            lacks = "lacks" if name not in weights else "has the unknown"
            raise BundleError(f"{path.name} {lacks} {name!r}, by the model of {described}")
        mine, theirs = weights[name], expected[name]
        if mine.shape != theirs.shape:
            raise BundleError(
                f"{path.name}: {name} has the shape {tuple(mine.shape)}, and the model of {described} with the "
                f"bundle's vocabularies {tuple(theirs.shape)}"
            )
        halved = precision != "fp32" and theirs.is_floating_point() and not is_table(model, name)
        dtype = torch.float16 if halved else theirs.dtype
        if mine.dtype != dtype:
            raise BundleError(
                f"{path.name}: {name} is of type {_name(mine.dtype)}, and in a model of precision {precision} it is of "
                f"type {_name(dtype)}"
            )
        weights[name] = mine.to(theirs.dtype)
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
