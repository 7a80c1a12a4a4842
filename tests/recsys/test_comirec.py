"""ComiRec: against the paper's equations written as loops, and the empty and long histories that it meets."""

import numpy as np
import pytest
import torch

from features.batches import Jagged
from features.errors import InputError
from recsys.comirec import ComiRec, ComiRecConfig, routed


def model(**settings: object) -> ComiRec:
    torch.manual_seed(0)
    return ComiRec(ComiRecConfig(**{"dim": 4, "interests": 3, **settings}), n_items=20).eval()


def jagged(*rows: list[int]) -> Jagged:
    values, lengths = [one for row in rows for one in row], [len(row) for row in rows]
    return Jagged(torch.tensor(values, dtype=torch.int64), torch.tensor(lengths, dtype=torch.int64))


@pytest.mark.parametrize("positions", [False, True])
def test_interests_are_the_papers(positions: bool) -> None:
    one = model(positions=positions, max_length=5)
    rows = [[3, 4, 5], [], [7], list(range(9))]
    found = one.interests(jagged(*rows))
    assert found.shape == (4, 3, 4)
    first, _, second = one.attention
    for user, row in enumerate(rows):
        if not row:
            assert not found[user].any()
            continue
        read = one.items(torch.tensor(row[-5:]))
        told = read + one.places(torch.arange(len(read)).flip(0)) if positions else read
        weights = torch.softmax(second.weight @ torch.tanh(first.weight @ told.T), dim=1)  # A, (K, n)
        assert torch.allclose(found[user], weights @ read, atol=1e-6)


def test_users_do_not_depend_on_the_batch() -> None:
    one, rows = model(), [[3, 4, 5], [6, 6], [1]]
    whole = one.interests(jagged(*rows))
    for user, row in enumerate(rows):
        assert torch.allclose(one.interests(jagged(row))[0], whole[user], atol=1e-6)
    assert one.interests(jagged()).shape == (0, 3, 4)


def test_each_target_goes_to_its_nearest_interest_and_hides_nothing_else_of_its_user() -> None:
    random = np.random.default_rng(0)
    interests = torch.from_numpy(random.normal(size=(3, 2, 4))).float().requires_grad_()
    targets, others = jagged([5, 6, 7], [], [8]), jagged([1], [2, 3], [])
    vectors = torch.from_numpy(random.normal(size=(4, 4))).float()
    queries, mine, taken = routed(interests, targets, vectors, others)
    assert queries.shape == (6, 4)
    wanted: list[list[int]] = [[] for _ in range(6)]
    for user, item, vector in zip([0, 0, 0, 2], [5, 6, 7, 8], vectors, strict=True):
        wanted[2 * user + int((interests[user] @ vector).argmax())].append(item)
    assert [one.tolist() for one in mine.values.split(mine.lengths.tolist())] == wanted
    known = [sorted(one.tolist()) for one in taken.values.split(taken.lengths.tolist())]
    assert known == [[1, 5, 6, 7]] * 2 + [[2, 3]] * 2 + [[8]] * 2
    queries.sum().backward()
    assert torch.equal(interests.grad, torch.ones_like(interests))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim of ComiRec is at least 1, got 0"),
        ({"interests": 0}, "interests of ComiRec is at least 1, got 0"),
        ({"hidden": -1}, "hidden of ComiRec is 0 or more, got -1"),
        ({"dropout": 1.0}, "dropout of ComiRec"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ComiRecConfig(**settings)
