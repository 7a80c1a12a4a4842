"""Settings of optimisers that depend on the machine."""

import pytest
import torch

from training.optimisers import OptimiserConfig


@pytest.mark.parametrize(
    ("asked", "amx", "found"),
    [
        ("auto", True, "bf16-mixed"),
        ("auto", False, "32-true"),
        ("32-true", True, "32-true"),
        ("bf16-mixed", False, "bf16-mixed"),
    ],
)
def test_auto_precision_is_bf16_where_the_processor_multiplies_it(
    asked: str, amx: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)
    assert OptimiserConfig(precision=asked).precision_here == found
