"""The cross-entropy without logits, against torch's own of all logits at once."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from recsys.losses import linear_cross_entropy as module
from recsys.losses.linear_cross_entropy import linear_cross_entropy


def example(n_queries: int, n_items: int, dtype=torch.float64, width: int = 5, spread: float = 1.0):
    generator = torch.Generator().manual_seed(n_items)
    queries, vectors = (
        (spread * torch.randn(n, width, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
        for n in (n_queries, n_items)
    )
    return queries, vectors, torch.randint(n_items, (n_queries,), generator=generator)


def gradients(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


@pytest.fixture(params=[64, 2**21], ids=["small chunks", "one chunk"])
def _held(request, monkeypatch):
    """Chunks of few queries and few items, so that small examples have several of each."""
    monkeypatch.setitem(module._HELD, "cpu", request.param)
    if request.param < 2**21:
        monkeypatch.setattr(module, "_FEWEST_ROWS", 3)
        monkeypatch.setattr(module, "_ROWS_OF_A_CHUNK", 3)


@pytest.mark.usefixtures("_held")
@pytest.mark.parametrize("items_per_chunk", [None, 1, 7, 16, 33, 100])
@pytest.mark.parametrize("n_items", [1, 16, 33])
@pytest.mark.parametrize("n_queries", [0, 1, 10])
def test_loss_and_gradients_are_those_of_all_logits(n_queries, n_items, items_per_chunk):
    queries, vectors, targets = example(n_queries, n_items)
    value = linear_cross_entropy(queries, vectors, targets, 0.7, items_per_chunk)
    exact = cross_entropy(queries @ vectors.T / 0.7, targets, reduction="sum")
    torch.testing.assert_close(value, exact)
    torch.testing.assert_close(gradients(3 * value, queries, vectors), gradients(3 * exact, queries, vectors))


@pytest.mark.usefixtures("_held")
@pytest.mark.parametrize("items_per_chunk", [None, 7])
def test_gradients_are_those_of_finite_differences(items_per_chunk):
    queries, vectors, targets = example(6, 20)

    def mean(queries, vectors):
        return linear_cross_entropy(queries, vectors, targets, 0.7, items_per_chunk) / 6

    assert torch.autograd.gradcheck(mean, (queries, vectors))


@pytest.mark.parametrize("items_per_chunk", [None, 7])
def test_logits_of_hundreds_keep_their_precision(items_per_chunk):
    """A target's probability underflows in float32; its logarithm must not."""
    queries, vectors, targets = example(40, 20, torch.float32, spread=15)
    value = linear_cross_entropy(queries, vectors, targets, 1.0, items_per_chunk)
    exact = cross_entropy(queries.double() @ vectors.double().T, targets, reduction="sum")
    assert exact / 40 > 300
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)
    for one, right in zip(gradients(value, queries, vectors), gradients(exact, queries, vectors), strict=True):
        torch.testing.assert_close(one, right, rtol=1e-4, atol=1e-3)


def test_autocast_leaves_the_logits_and_the_gradients_in_float32():
    queries, vectors, targets = example(40, 20, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = linear_cross_entropy(queries, vectors, targets)
    exact = linear_cross_entropy(queries.double(), vectors.double(), targets)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)
    found = gradients(value, queries, vectors)
    assert [one.dtype for one in found] == [torch.bfloat16] * 2
    torch.testing.assert_close(found, gradients(exact, queries, vectors))


def test_only_the_gradients_that_are_asked_for_are_given():
    queries, vectors, targets = example(6, 20)
    whole = gradients(linear_cross_entropy(queries, vectors, targets), queries, vectors)
    linear_cross_entropy(queries.detach(), vectors, targets).backward()
    assert queries.grad is None
    torch.testing.assert_close(vectors.grad, whole[1])
    with torch.no_grad():
        assert not linear_cross_entropy(queries, vectors, targets).requires_grad


def test_a_second_backward_gives_the_same_and_a_second_derivative_is_refused():
    queries, vectors, targets = example(6, 20)
    value = linear_cross_entropy(queries, vectors, targets)
    first = torch.autograd.grad(value, queries, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(value, queries, retain_graph=True)[0], first)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(value, queries, create_graph=True)


class _Calls(TorchDispatchMode):
    """What torch was asked to do, and the largest tensor that came of it."""

    def __init__(self):
        super().__init__()
        self.names, self.largest = set(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.names.add(function.overloadpacket.__name__)
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


@pytest.mark.parametrize("items_per_chunk", [None, 1000])
def test_no_step_waits_for_a_gpu_or_holds_all_logits(items_per_chunk, monkeypatch):
    monkeypatch.setitem(module._HELD, "cpu", 2**14)
    monkeypatch.setattr(module, "_FEWEST_ROWS", 4)
    queries, vectors, targets = example(60, 3000)
    with _Calls() as calls:
        linear_cross_entropy(queries, vectors, targets, 1.0, items_per_chunk).backward()
    assert "mm" in calls.names
    assert not calls.names & {"_local_scalar_dense", "item", "nonzero", "equal"}
    assert calls.largest <= 2 * 2**14  # of 180,000
