"""Softmax losses, against loops written from the equations and against the full softmax that they estimate."""

import math

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from features.batches import Jagged
from features.errors import InputError
from recsys.losses import FullSoftmax, InBatchSoftmax, MixedSoftmax, make_loss

N = 12
FREQUENCY = torch.tensor([40, 1, 7, 0, 12, 3, 9, 25, 2, 5, 8, 1])


def jagged(rows: list[list[int]]) -> Jagged:
    values = torch.tensor([value for row in rows for value in row], dtype=torch.int64)
    return Jagged(values, torch.tensor([len(row) for row in rows], dtype=torch.int64))


def vectors(n: int, width: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


TARGETS = [[4, 0], [], [7], [0, 0, 9, 7], [1]]


OTHERS = [[2, 0, 11], [5], [], [0, 1, -1], [4, 8]]  # 0 is a target of the same users, and -1 unknown


def slow_full(queries, table, targets, loss, others):
    losses = []
    for user, row in enumerate(targets):
        scores = [(queries[user] @ table[item]).item() / loss.temperature for item in range(len(table))]
        for target in row:
            hidden = set(others[user]) | set(row) if loss.hide_positives else set(others[user]) - set(row)
            candidates = [item for item in range(len(table)) if item not in hidden or item == target]
            losses.append(math.log(sum(math.exp(scores[item]) for item in candidates)) - scores[target])
    return sum(losses) / len(losses)


def slow_sampled(queries, table, targets, loss, drawn, taken):
    """Every target by itself, with every candidate listed as often as it was found."""
    pairs = [(user, item) for user, row in enumerate(targets) for item in row]
    losses = []
    for user, target in pairs:
        others = [item for other, item in pairs if other != user]
        hidden = set(taken[user]) | (set(targets[user]) if loss.hide_positives else {target})
        candidates = [item for item in others + drawn if item not in hidden]

        def expected(item, others=others):
            return len(others) * max(int(FREQUENCY[item]), 1) / int(FREQUENCY.sum()) + len(drawn) / N

        def logit(item, correct, user=user, expected=expected):
            score = (queries[user] @ table[item]).item() / loss.temperature
            return score - math.log(expected(item)) if correct else score

        positive = math.exp(logit(target, loss.logq and loss.correct_target))
        negative = sum(math.exp(logit(item, loss.logq)) for item in candidates)
        losses.append(math.log((positive + negative) / positive))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("others", [OTHERS, [[]] * 5, None], ids=["others", "empty", "none"])
@pytest.mark.parametrize("hide_positives", [True, False])
@pytest.mark.parametrize("items_per_chunk", [None, 1, 5, 12, 100])
def test_full_softmax_follows_its_equation(items_per_chunk, hide_positives, others):
    queries, table, loss = vectors(5), vectors(N, seed=1), FullSoftmax(0.7, items_per_chunk, hide_positives)
    value = loss(queries, jagged(TARGETS), table.__getitem__, N, FREQUENCY, None, others and jagged(others))
    assert value.item() == pytest.approx(slow_full(queries, table, TARGETS, loss, others or [[]] * 5))


@pytest.mark.parametrize("hide_positives", [True, False])
@pytest.mark.parametrize("correct_target", [True, False])
@pytest.mark.parametrize("logq", [True, False])
@pytest.mark.parametrize("n_uniform", [None, 0, 9])
@pytest.mark.parametrize("others", [OTHERS, None], ids=["others", "none"])
def test_sampled_softmax_follows_its_equation(others, n_uniform, logq, correct_target, hide_positives):
    queries, table = vectors(5), vectors(N, seed=1)
    settings = {"temperature": 0.7, "logq": logq, "correct_target": correct_target, "hide_positives": hide_positives}
    loss = InBatchSoftmax(**settings) if n_uniform is None else MixedSoftmax(**settings, n_uniform=n_uniform)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    drawn = torch.randint(N, (n_uniform or 0,), generator=generators[0]).tolist()
    value = loss(queries, jagged(TARGETS), table.__getitem__, N, FREQUENCY, generators[1], others and jagged(others))
    expected = slow_sampled(queries, table, TARGETS, loss, drawn, others or [[]] * 5)
    assert value.item() == pytest.approx(expected, rel=1e-6)


ALL = [FullSoftmax(), FullSoftmax(items_per_chunk=5), InBatchSoftmax(), MixedSoftmax(n_uniform=9)]


@pytest.mark.parametrize("loss", [*ALL, InBatchSoftmax(hide_positives=False, correct_target=True)], ids=repr)
@pytest.mark.parametrize("targets", [TARGETS, [[3]], [[3, 3, 5]], [[2], [2]]], ids=repr)
def test_gradients_are_those_of_finite_differences(loss, targets):
    def value(queries, table):
        generator = torch.Generator().manual_seed(3)
        return loss(queries, jagged(targets), table.__getitem__, N, FREQUENCY, generator)

    assert torch.autograd.gradcheck(value, (vectors(len(targets)), vectors(N, seed=1)), fast_mode=True)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_a_batch_without_targets_costs_nothing_and_still_reaches_both_towers(loss):
    queries, table = vectors(3), vectors(N, seed=1)
    value = loss(queries, jagged([[], [], []]), table.__getitem__, N, FREQUENCY)
    value.backward()
    assert value.item() == 0
    assert queries.grad.abs().sum() == 0
    assert table.grad.abs().sum() == 0


@pytest.mark.parametrize("correct_target", [True, False])
def test_one_target_alone_has_nothing_to_be_told_from_in_its_batch(correct_target):
    queries, table = vectors(1), vectors(N, seed=1)
    value = InBatchSoftmax(correct_target=correct_target)(queries, jagged([[3]]), table.__getitem__, N, FREQUENCY)
    value.backward()
    assert value.item() == 0
    assert table.grad.abs().sum() == 0


def test_the_same_target_of_two_users_is_an_accidental_hit():
    queries, table = vectors(2), vectors(N, seed=1)
    value = InBatchSoftmax()(queries, jagged([[6], [6]]), table.__getitem__, N, FREQUENCY)
    assert value.item() == 0


def test_a_hidden_positive_is_not_pushed_away():
    queries, table = vectors(2), vectors(N, seed=1)
    hide = InBatchSoftmax()(queries[:1].repeat(2, 1), jagged([[6, 2], [2]]), table.__getitem__, N, FREQUENCY)
    keep = InBatchSoftmax(hide_positives=False)(
        queries[:1].repeat(2, 1), jagged([[6, 2], [2]]), table.__getitem__, N, FREQUENCY
    )
    assert keep.item() > hide.item()


@pytest.mark.parametrize("name", ["in-batch", "mixed"])
def test_the_corrected_gradient_approaches_that_of_the_full_softmax(name):
    """The first user's gradient, while the others' targets are drawn as training data are: with a long tail."""
    generator = torch.Generator().manual_seed(0)
    n_items, n_others = 20, 500
    frequency = (1000 / torch.arange(1, n_items + 1)).long()
    query, table, strangers = vectors(1, 3, seed=2), vectors(n_items, 3, seed=1), torch.zeros(n_others, 3)

    def gradient(loss, drawn):
        targets = Jagged(torch.cat([torch.tensor([2]), drawn]), torch.ones(len(drawn) + 1, dtype=torch.int64))
        queries = torch.cat([query, strangers[: len(drawn)]])
        value = loss(queries, targets, table.__getitem__, n_items, frequency, generator) * len(queries)
        return torch.autograd.grad(value, query)[0].flatten()

    exact = gradient(FullSoftmax(), torch.zeros(0, dtype=torch.int64))
    uniform = {"n_uniform": 200} if name == "mixed" else {}
    error = {}
    for logq in (True, False):
        loss, total = make_loss(name, logq=logq, **uniform), torch.zeros(3, dtype=torch.float64)
        for _ in range(40):
            drawn = torch.multinomial(frequency.double(), n_others, replacement=True, generator=generator)
            total += gradient(loss, drawn) / 40
        error[logq] = float((total - exact).norm() / exact.norm())
    assert error[True] < 0.04
    assert error[False] > 0.15


def test_uniform_draws_alone_give_both_towers_the_gradient_of_the_full_softmax():
    query, table, generator = vectors(1), vectors(N, seed=1), torch.Generator().manual_seed(0)

    def gradient(loss):
        value = loss(query, jagged([[3]]), table.__getitem__, N, FREQUENCY, generator)
        return torch.cat([one.flatten() for one in torch.autograd.grad(value, (query, table))])

    exact = gradient(FullSoftmax())
    estimates = torch.stack([gradient(MixedSoftmax(n_uniform=500)) for _ in range(40)])
    assert (estimates.mean(0) - exact).norm() / exact.norm() < 0.02


def test_uniform_draws_of_the_target_are_accidental_hits():
    query, table = vectors(1), vectors(1, seed=1)
    assert MixedSoftmax(n_uniform=50)(query, jagged([[0]]), table.__getitem__, 1, torch.ones(1)).item() == 0


@pytest.mark.parametrize("loss", [FullSoftmax(), MixedSoftmax(temperature=0.05)], ids=repr)
def test_low_precision_and_large_logits_stay_exact(loss):
    queries, table = 30 * vectors(5).detach().bfloat16(), 30 * vectors(N, seed=1).detach().bfloat16()

    def value(queries, table):
        generator = torch.Generator().manual_seed(0)
        return loss(queries, jagged(TARGETS), table.__getitem__, N, FREQUENCY, generator)

    exact = value(queries.double(), table.double())
    assert exact > 100
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = value(queries, table)
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(exact.item(), rel=1e-5)


def test_a_chunked_full_softmax_holds_no_logits_of_the_whole_catalogue():
    queries, table, sizes = torch.randn(64, 4, requires_grad=True), torch.randn(1000, 4, requires_grad=True), []

    def saved(tensor):
        sizes.append(tensor.numel())
        return tensor

    # two targets each, of which one is hidden from the other: with one there would be no logits to keep
    arguments = queries, jagged([[user, user + 1] for user in range(64)]), table.__getitem__, 1000, torch.ones(1000)
    with saved_tensors_hooks(saved, lambda tensor: tensor):
        FullSoftmax(items_per_chunk=100)(*arguments).backward()
    assert max(sizes) <= 64 * 100
    with saved_tensors_hooks(saved, lambda tensor: tensor):
        FullSoftmax()(*arguments).backward()
    assert max(sizes) == 64 * 1000


def test_items_are_encoded_once_and_only_as_needed():
    asked = []
    table = vectors(N, seed=1)

    def encode(rows):
        asked.append(rows.tolist())
        return table[rows]

    InBatchSoftmax()(vectors(5), jagged(TARGETS), encode, N, FREQUENCY)
    FullSoftmax(items_per_chunk=3)(vectors(5), jagged(TARGETS), encode, N, FREQUENCY)
    assert asked == [[0, 1, 4, 7, 9], list(range(N))]


def test_settings_make_a_loss_and_bad_ones_are_named():
    assert make_loss("full-softmax", temperature=0.1) == FullSoftmax(temperature=0.1)
    assert make_loss("in-batch", logq=False) == InBatchSoftmax(logq=False)
    assert make_loss("mixed", n_uniform=7) == MixedSoftmax(n_uniform=7)
    for message, name, settings in [
        ("no loss 'hinge', only full-softmax", "hinge", {}),
        ("'in-batch' has no setting 'n_uniform'", "in-batch", {"n_uniform": 7}),
        ("temperature", "mixed", {"temperature": 0}),
        ("temperature", "full-softmax", {"temperature": "warm"}),
        ("items_per_chunk", "full-softmax", {"items_per_chunk": 0}),
        ("n_uniform", "mixed", {"n_uniform": -1}),
    ]:
        with pytest.raises(InputError, match=message):
            make_loss(name, **settings)
