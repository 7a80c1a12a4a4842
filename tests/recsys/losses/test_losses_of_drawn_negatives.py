"""Losses whose negatives are drawn, against loops written from the equations, and for what the papers promise."""

import math
from itertools import pairwise

import pytest
import torch

from features.batches import Jagged
from features.errors import InputError
from recsys.losses import BinaryCrossEntropy, FullSoftmax, GeneralisedBCE, SampledSoftmax, make_loss
from recsys.losses.shared_negatives import _draw_by_popularity

N = 12
FREQUENCY = torch.tensor([40, 1, 7, 0, 12, 3, 9, 25, 2, 5, 8, 1])
NEXT_ITEM = [[4], [0], [7], [4], [0], [9]]
SEVERAL = [[4, 0], [], [7], [0, 0, 9, 7], [1]]
OTHERS = [[2, 0, 11], [5], [], [0, 1, -1], [4, 8]]

LOSSES = [
    SampledSoftmax(0.7, n_negatives=9),
    SampledSoftmax(n_negatives=9, logq=True),
    SampledSoftmax(n_negatives=9, draw="popularity"),
    SampledSoftmax(0.7, n_negatives=30, draw="popularity", logq=True),
    BinaryCrossEntropy(),
    BinaryCrossEntropy(0.7, n_negatives=3),
    GeneralisedBCE(0.7, n_negatives=9),
    GeneralisedBCE(n_negatives=30, calibration=1.0),
    GeneralisedBCE(n_negatives=4, shared=False),
]


def jagged(rows: list[list[int]]) -> Jagged:
    values = torch.tensor([value for row in rows for value in row], dtype=torch.int64)
    return Jagged(values, torch.tensor([len(row) for row in rows], dtype=torch.int64))


def vectors(n: int, width: int = 5, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(loss, n_targets: int) -> list[list[int]]:
    """Each target's draws, from the same generator as the loss has them from."""
    k = loss.n_negatives
    if getattr(loss, "draw", "uniform") == "popularity":
        sums = FREQUENCY.clamp(min=1).cumsum(0).tolist()
        points = torch.rand(k, generator=generator(), dtype=torch.float64) * sums[-1]
        return [[sum(at <= point for at in sums) for point in points.tolist()]] * n_targets
    if getattr(loss, "shared", True):
        return [torch.randint(N, (k,), generator=generator()).tolist()] * n_targets
    return torch.randint(N, (n_targets, k), generator=generator()).tolist()


def slow(loss, queries, table, targets, others):
    pairs = [(user, item) for user, row in enumerate(targets) for item in row]
    losses = []
    for (user, target), draws in zip(pairs, drawn(loss, len(pairs)), strict=True):
        scores = [(queries[user] @ row).item() / loss.temperature for row in table]
        negatives = [item for item in draws if item not in targets[user] and item not in others[user]]
        if isinstance(loss, SampledSoftmax):
            counts = FREQUENCY.clamp(min=1).tolist() if loss.draw == "popularity" else [1] * N
            expected = [loss.n_negatives * count / sum(counts) if loss.logq else 1.0 for count in counts]
            total = sum(math.exp(scores[item]) / expected[item] for item in negatives)
            losses.append(-math.log(math.exp(scores[target]) / (math.exp(scores[target]) + total)))
        else:
            alpha, t = loss.n_negatives / N, getattr(loss, "calibration", 0.0)
            beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
            prior = math.log(beta / loss.n_negatives)
            sigma = [1 / (1 + math.exp(-score - prior)) for score in scores]
            total = math.log(sigma[target] ** beta) + sum(math.log(1 - sigma[item]) for item in negatives)
            losses.append(-total / (loss.n_negatives + 1))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("targets", "others"), [(NEXT_ITEM, None), (SEVERAL, None), (SEVERAL, OTHERS)], ids=["next", "several", "others"]
)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_every_loss_follows_its_equation(loss, targets, others):
    queries, table = vectors(len(targets)), vectors(N, seed=1)
    arguments = queries, jagged(targets), table.__getitem__, N, FREQUENCY, generator(), others and jagged(others)
    expected = slow(loss, queries, table, targets, others or [[]] * len(targets))
    assert loss(*arguments).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("targets", [NEXT_ITEM, SEVERAL], ids=["next", "several"])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_gradients_are_those_of_finite_differences(loss, targets):
    def value(queries, table):
        return loss(queries, jagged(targets), table.__getitem__, N, FREQUENCY, generator())

    assert torch.autograd.gradcheck(value, (vectors(len(targets)), vectors(N, seed=1)), fast_mode=True)


@pytest.mark.parametrize("elsewhere", [None, [3, 3, 5]], ids=["nowhere", "other processes"])
@pytest.mark.parametrize("loss", [*LOSSES, FullSoftmax()], ids=repr)
def test_no_targets_cost_nothing_and_still_reach_both_towers(loss, elsewhere):
    queries, table = vectors(3), vectors(N, seed=1)
    everywhere = elsewhere and torch.tensor(elsewhere)
    value = loss(queries, jagged([[], [], []]), table.__getitem__, N, FREQUENCY, generator(), None, everywhere)
    value.backward()
    assert value.item() == 0
    assert queries.grad.abs().sum() == 0
    assert table.grad.abs().sum() == 0


# the last: two parts of the same two targets
@pytest.mark.parametrize("cuts", [[0, 3, 6], [0, 0, 1, 6], [0, 2, 3, 5, 6]], ids=repr)
@pytest.mark.parametrize("loss", [*LOSSES, FullSoftmax()], ids=repr)
def test_processes_that_divide_a_batch_have_its_loss_together_and_encode_the_same_items(loss, cuts):
    queries, table, whole, asked = vectors(6), vectors(N, seed=1), jagged(NEXT_ITEM), []

    def encode(rows):
        asked.append(rows.tolist())
        return table[rows]

    def value(part):
        targets = jagged(NEXT_ITEM[part])
        return loss(queries[part], targets, encode, N, FREQUENCY, generator(), None, whole.values, part.start).item()

    parts = [slice(*ends) for ends in pairwise(cuts)]
    together = sum(value(part) * len(NEXT_ITEM[part]) for part in parts) / 6
    assert together == pytest.approx(value(slice(0, 6)), rel=1e-12)
    assert all(rows == sorted(set(asked[0])) for rows in asked)


@pytest.mark.parametrize("draw", ["uniform", "popularity"])
def test_a_corrected_softmax_over_many_draws_is_the_full_softmax(draw):
    queries, table = vectors(6), vectors(N, seed=1)

    def value(loss):
        found = loss(queries, jagged(NEXT_ITEM), table.__getitem__, N, FREQUENCY, generator())
        return torch.cat([found[None], *(one.flatten() for one in torch.autograd.grad(found, (queries, table)))])

    exact = value(FullSoftmax())
    errors = {
        logq: (value(SampledSoftmax(n_negatives=300_000, draw=draw, logq=logq)) - exact).norm() / exact.norm()
        for logq in (True, False)
    }
    assert errors[True] < 0.01
    assert errors[False] > 0.3


def test_without_correction_all_draws_of_a_catalogue_lose_more_than_the_full_softmax_and_few_lose_less():
    queries, table = vectors(6), vectors(N, seed=1)

    def value(loss):
        return loss(queries, jagged(NEXT_ITEM), table.__getitem__, N, FREQUENCY, generator()).item()

    assert value(SampledSoftmax(n_negatives=1)) < value(FullSoftmax()) < value(SampledSoftmax(n_negatives=100))


def test_draws_by_popularity_are_as_often_as_training_has_the_items():
    table, asked = vectors(N), {}

    def encode(rows):
        asked["rows"] = rows.tolist()
        return table[rows]

    found = torch.bincount(_draw_by_popularity(FREQUENCY, 200_000, generator()), minlength=N) / 200_000
    torch.testing.assert_close(found, FREQUENCY.clamp(min=1) / FREQUENCY.clamp(min=1).sum(), rtol=0, atol=0.004)
    loss = SampledSoftmax(n_negatives=5, draw="popularity")
    loss(vectors(1), jagged([[3]]), encode, N, torch.tensor([0] * 7 + [10**15] + [0] * 4), generator())
    assert asked["rows"] == [3, 7]


def test_gbce_without_calibration_is_plain_bce():
    queries, table = vectors(6), vectors(N, seed=1)
    for shared in (True, False):
        plain, generalised = (
            loss(queries, jagged(NEXT_ITEM), table.__getitem__, N, FREQUENCY, generator())
            for loss in (BinaryCrossEntropy(1.0, 5, shared), GeneralisedBCE(1.0, 5, shared, calibration=0.0))
        )
        assert plain.item() == generalised.item()


@pytest.mark.parametrize("calibration", [0.0, 0.5, 1.0])
def test_gbce_is_best_at_the_chance_of_each_item_when_fully_calibrated(calibration):
    """Three items are taken with chances 0.6, 0.3 and 0.1; their logits are free."""
    chances, n_negatives = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), 60_000
    scores = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    targets = jagged([[item] for item, times in enumerate((6, 3, 1)) for _ in range(times)])
    loss = GeneralisedBCE(n_negatives=n_negatives, calibration=calibration)
    optimiser = torch.optim.LBFGS([scores], lr=1, max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure():
        optimiser.zero_grad()
        table = torch.eye(3, dtype=torch.float64).__getitem__
        # a mean over so many negatives is too small for the optimiser
        value = loss(scores.expand(10, 3), targets, table, 3, torch.ones(3), generator()) * n_negatives
        value.backward()
        return value

    optimiser.step(closure)
    alpha = n_negatives / 3
    beta = loss.weight_of_positive(3)
    best = beta * chances / (beta * chances + alpha * (1 - chances))
    found = (scores.detach() + loss.prior(3)).sigmoid()
    torch.testing.assert_close(found, best, rtol=0.03, atol=0)
    if calibration == 1:
        torch.testing.assert_close(found, chances, rtol=0.03, atol=0)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("n_negatives", "calibration"), [(1, 0.0), (5, 0.0), (64, 0.75), (256, 1.0)])
def test_a_model_that_knows_nothing_yet_is_not_pushed_one_way(n_negatives, calibration, shared):
    """Else a tied table collapses: every item moves along one direction, until that is all there is."""
    loss = GeneralisedBCE(1.0, n_negatives, shared, calibration)
    n = 10**6  # so that no draw is the target
    offset = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    ones = lambda rows: torch.ones(len(rows), 1, dtype=torch.float64)  # noqa: E731
    loss(offset.expand(6, 1), jagged(NEXT_ITEM), ones, n, torch.ones(n), generator()).backward()
    assert offset.grad.item() == pytest.approx(0, abs=1e-12)
    assert GeneralisedBCE(n_negatives=1, calibration=0.0).prior(n) == 0


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_low_precision_and_scores_of_hundreds_stay_exact(loss):
    queries, table = (30 * vectors(n, seed=n, dtype=torch.bfloat16).detach() for n in (6, N))

    def value(queries, table):
        return loss(queries, jagged(NEXT_ITEM), table.__getitem__, N, FREQUENCY, generator())

    exact = value(queries.double(), table.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = value(queries, table)
    assert exact > 100
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(exact.item(), rel=1e-5)


def test_a_catalogue_of_nothing_but_the_target_has_nothing_to_tell_it_from():
    queries, table = vectors(1), vectors(1, seed=1)
    for loss in (SampledSoftmax(), SampledSoftmax(draw="popularity", logq=True)):
        assert loss(queries, jagged([[0]]), table.__getitem__, 1, torch.ones(1)).item() == 0


def test_settings_make_a_loss_and_bad_ones_are_named():
    assert make_loss("sampled-softmax", n_negatives=7, draw="popularity") == SampledSoftmax(1.0, 7, "popularity")
    assert make_loss("gbce", calibration=1) == GeneralisedBCE(1.0, 256, True, 1)
    assert make_loss("bce") == BinaryCrossEntropy(1.0, 1, False)
    for message, name, settings in [
        ("n_negatives", "sampled-softmax", {"n_negatives": 0}),
        ("draw", "sampled-softmax", {"draw": "best"}),
        ("temperature", "sampled-softmax", {"temperature": 0}),
        ("n_negatives", "bce", {"n_negatives": 0}),
        ("'calibration' of the loss 'gbce'", "gbce", {"calibration": "full"}),
        ("calibration is a number from 0 to 1", "gbce", {"calibration": 1.1}),
        ("'bce' has no setting 'calibration'", "bce", {"calibration": 1.0}),
    ]:
        with pytest.raises(InputError, match=message):
            make_loss(name, **settings)
