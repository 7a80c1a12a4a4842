"""In how many bits a trained model is stored and served, and what the machine multiplies."""

from __future__ import annotations

from typing import Literal

from features.errors import InputError

#: "fp32" is what training works with; "fp16" takes half of its memory, "int8" about a quarter
Precision = Literal["fp32", "fp16", "int8"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")

#: the largest number of half precision
FP16_MOST = 65_504.0


def check_precision(setting: str, precision: str) -> None:
    """Refuses what is no precision.

    Args:
        setting: What the error calls it.
        precision: What was given.

    Raises:
        InputError: It is none of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise InputError(f"{setting} is {precision!r}, not 'fp32', 'fp16' or 'int8'")


def multiplies_bf16() -> bool:
    """Whether the GPU, or else the processor, multiplies bf16 in hardware, which is where it pays."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
