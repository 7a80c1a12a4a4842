"""Embedding tables in a half or a quarter of the memory, for serving: a look-up restores only the rows that it reads.

- *fp16*: every number rounded to half precision.
- *int8*: row-wise asymmetric quantisation, the layout of FBGEMM's 8-bit rows (Guan et al., 'Post-Training 4-bit
  Quantization on Embedding Tables', arXiv 1911.02079): a byte a number, and for each row a step and a lowest value, so
  that rows of small numbers keep their detail. These two are fp16 here, in units of about the table's largest
  magnitude: a row of 32 numbers takes 36 bytes instead of 128.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import InputError
from recsys.embeddings.layout import TableShape
from recsys.embeddings.lookups import Embeddings
from recsys.embeddings.tables import PlainTables
from recsys.precision import FP16_MOST, Precision

#: of a byte
_STEPS = 255
#: beyond it, a step added to a number could leave fp32's range
_MOST = 2.0**126
#: numbers that are quantised at a time
_CHUNK = 1 << 22


class QuantisedTable(nn.Module):
    """One table; empty until its state is loaded.

    Args:
        rows: R
        width: Width of a row.
        precision: "fp16" or "int8".
    """

    weight: Tensor
    scale: Tensor
    offset: Tensor
    unit: Tensor

    def __init__(self, rows: int, width: int, precision: Precision) -> None:
        super().__init__()
        half = torch.float16
        dtype = half if precision == "fp16" else torch.uint8
        self.register_buffer("weight", torch.empty(rows, width, dtype=dtype))
        self._steps = precision == "int8"
        if self._steps:
            self.register_buffer("scale", torch.empty(rows, dtype=half))
            self.register_buffer("offset", torch.empty(rows, dtype=half))
            self.register_buffer("unit", torch.empty(()))

    def __len__(self) -> int:
        return len(self.weight)

    def forward(self, rows: Tensor | None = None) -> Tensor:
        """The numbers of some rows, of all of them where none are named. (T,) int64 -> (T, width) float32"""
        weight = self.weight if rows is None else self.weight.index_select(0, rows)
        if not self._steps:
            return weight.float()
        scale, offset = (
            (one if rows is None else one.index_select(0, rows)).float().mul_(self.unit)[:, None]
            for one in (self.scale, self.offset)
        )  # (T, 1)
        return weight.float().mul_(scale).add_(offset)


class QuantisedTables(PlainTables):
    """As `PlainTables`, over quantised tables; empty until a state is loaded.

    Args:
        shapes: The tables.
        precision: "fp16" or "int8".
    """

    def __init__(self, shapes: Sequence[TableShape], precision: Precision) -> None:
        with torch.device("meta"):
            super().__init__(shapes, 0.0)
        for shape in shapes:
            self._tables_like(shape)[shape.name] = QuantisedTable(shape.rows, shape.width, precision)

    def _rows(self, table: QuantisedTable, values: Tensor) -> Tensor:
        return table(values)

    def _to_sum(self, table: QuantisedTable, values: Tensor) -> tuple[Tensor, Tensor]:
        # more look-ups than rows: then it is less to restore the whole table
        few = len(values) < len(table)
        return (torch.arange(len(values), device=values.device), table(values)) if few else (values, table())


def make_room(model: nn.Module, precision: Precision) -> None:
    """Puts empty quantised tables in the place of a model's plain ones, for `quantised_state` to be loaded into.

    Args:
        model: With plain `Embeddings` anywhere inside; changed in place.
        precision: Nothing happens for "fp32".
    """
    for module in model.modules():
        if isinstance(module, Embeddings) and precision != "fp32":
            assert isinstance(module.tables, PlainTables)
            module.tables = QuantisedTables(module.tables.shapes, precision)


def is_table(model: nn.Module, name: str) -> bool:
    """Whether an entry of a model's state is (a part of) an embedding table."""
    return any(
        name.startswith(f"{prefix}.tables." if prefix else "tables.")
        for prefix, module in model.named_modules()
        if isinstance(module, Embeddings)
    )


def quantised_state(model: nn.Module, precision: Precision) -> dict[str, Tensor]:
    """The state of a model with its tables quantised, and its other weights in half precision, on the CPU.

    Args:
        model: With plain `Embeddings` anywhere inside, of either backend.
        precision: "fp32" changes nothing.

    Raises:
        InputError: A weight that is not finite, or too large, by name.
    """
    state: dict[str, Tensor] = {}
    for name, weight in model.state_dict().items():
        weight = weight.detach().cpu().contiguous()
        if precision == "fp32" or not weight.is_floating_point():
            state[name] = weight
        elif is_table(model, name):
            quantised = quantise_rows(weight, precision, name)
            state.update({name.removesuffix("weight") + part: one for part, one in quantised.items()})
        else:
            state[name] = _half(weight.float(), name)
    return state


def quantise_rows(weight: Tensor, precision: Precision, name: str = "table") -> dict[str, Tensor]:
    """A table as the state of a `QuantisedTable`, each number rounded to the nearest of those that can be told apart.

    Args:
        weight: (R, width) float32
        precision: "fp16" or "int8".
        name: What errors call it.

    Raises:
        InputError: A number that is not finite, or too large, with its row.

    Example:
        >>> state = quantise_rows(torch.tensor([[0.0, 0.5, 1.0]]), "int8")
        >>> state["weight"].tolist()
        [[0, 127, 255]]
    """
    weight = weight.detach().float()
    if precision == "fp16":
        return {"weight": _half(weight, name)}
    largest = _checked(weight, name, _MOST)
    # a power of two, so that dividing by it rounds nothing
    unit = 2.0 ** (math.frexp(largest)[1] - 1) if largest else 1.0
    chunk = max(1, _CHUNK // max(1, weight.shape[1]))
    parts = [_rows_as_bytes(part.numpy().astype(np.float64) / unit) for part in weight.split(chunk)]
    codes, scale, offset = (torch.from_numpy(np.concatenate(one)) for one in zip(*parts, strict=True))
    return {"weight": codes, "scale": scale, "offset": offset, "unit": torch.tensor(unit)}


def _rows_as_bytes(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (R, width) uint8, steps (R,) and lowest values (R,) float16, of (R, width) float64."""
    # rounded outwards, so that the codes reach over the whole row and no number is more than half a step off
    offset = _half_below(numbers.min(axis=1))
    scale = -_half_below(-(numbers.max(axis=1) - offset.astype(np.float64)) / _STEPS)
    step = np.where(scale > 0, scale, 1).astype(np.float64)[:, None]
    codes = np.rint((numbers - offset.astype(np.float64)[:, None]) / step)
    return np.clip(codes, 0, _STEPS).astype(np.uint8), scale, offset


def _half_below(numbers: np.ndarray) -> np.ndarray:
    """The largest numbers of half precision that are not above the given ones. (R,) float64 -> (R,) float16"""
    half = numbers.astype(np.float16)
    return np.where(half.astype(np.float64) > numbers, np.nextafter(half, np.float16(-np.inf)), half)


def _half(weight: Tensor, name: str) -> Tensor:
    _checked(weight, name, FP16_MOST)
    return weight.to(torch.float16)


def _checked(weight: Tensor, name: str, most: float) -> float:
    """The largest magnitude, refused where it cannot be stored."""
    if not weight.numel():
        return 0.0
    largest = float(weight.abs().max())
    if largest <= most:  # false for NaN
        return largest
    place = int((~(weight.abs() <= most)).flatten().nonzero()[0])
    row = place // (weight.shape[1] if weight.ndim > 1 else 1)
    number = float(weight.flatten()[place])
    what = f"more than the {most:g} that its precision can hold" if math.isfinite(number) else "which is not finite"
    raise InputError(f"{name} cannot be quantised: row {row} holds {number:g}, {what}")
