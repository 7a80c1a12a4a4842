"""Settings of optimisers that depend on the machine."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from features.errors import InputError
from training.optimisers import OptimiserConfig, configure


@pytest.mark.parametrize(
    ("asked", "able", "found"),
    [
        ("auto", {"amx_bf16": True}, "bf16-mixed"),
        ("auto", {"avx512_bf16": True}, "bf16-mixed"),
        ("auto", {"avx512_f": True}, "32-true"),
        ("32-true", {"amx_bf16": True}, "32-true"),
        ("bf16-mixed", {}, "bf16-mixed"),
    ],
)
def test_auto_precision_is_bf16_where_the_processor_multiplies_it(
    asked: str, able: dict[str, bool], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert OptimiserConfig(precision=asked).precision_here == found


@pytest.mark.parametrize(("decay", "quarter"), [("linear", 0.75), ("cosine", 0.854)])
def test_rates_rise_for_a_twentieth_of_the_steps_and_fall_to_nothing(decay: str, quarter: float) -> None:
    trainer = SimpleNamespace(estimated_stepping_batches=205, max_epochs=5, strategy=None)
    module = SimpleNamespace(trainer=trainer, parameters=lambda: [torch.nn.Parameter(torch.zeros(1))])
    found = configure(module, OptimiserConfig(lr=2.0, decay=decay, max_epochs=5))["lr_scheduler"]["scheduler"]
    (rate,) = found.lr_lambdas
    rates = [rate(step) for step in range(206)]
    assert np.all(np.diff(rates[:11]) > 0) and max(rates) == pytest.approx(1) and np.all(np.diff(rates[11:]) <= 0)
    assert rates[-1] == pytest.approx(0, abs=1e-3)
    assert rates[59] == pytest.approx(quarter, abs=0.01) and rates[108] == pytest.approx(0.5, abs=0.01)


def test_another_decay_is_told() -> None:
    with pytest.raises(InputError, match=r"optimiser\.decay is 'steps'"):
        OptimiserConfig(decay="steps")
