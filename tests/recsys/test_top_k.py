"""Full ranking, against a sort of the whole score matrix with Python's own comparison."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import Jagged
from features.errors import InputError
from recsys.target_ranks import UNRANKED
from recsys.top_k import Chunks, dot_product, full_ranking, top_k

DEFAULT = Chunks()


def jagged(rows: list[list[int]]) -> Jagged:
    values = torch.tensor([value for row in rows for value in row], dtype=torch.int64)
    return Jagged(values, torch.tensor([len(row) for row in rows], dtype=torch.int64))


def slow_ranking(scores: np.ndarray, k: int, seen: list[list[int]], targets: list[list[int]]):
    """Lists, ranks and ties by sorting (-score, row) of every user."""
    lists, ranks, ties = [], [], []
    for user, row_scores in enumerate(scores.tolist()):
        left = [(-score, row) for row, score in enumerate(row_scores) if row not in seen[user] and score > -np.inf]
        order = [row for _, row in sorted(left)]
        lists.append((order + [-1] * k)[:k])
        for target in targets[user]:
            ranks.append(order.index(target) + 1 if target in order else UNRANKED)
            level = [row for row in order if row_scores[row] == row_scores[target]]
            ties.append(len(level) - 1 if target in order else 0)
    return lists, ranks, ties


def rank_matrix(scores: torch.Tensor, k: int, seen=None, targets=None, chunks=DEFAULT):
    return full_ranking(lambda users, items: scores[users, items].clone(), *scores.shape, k, seen, targets, chunks)


@st.composite
def cases(draw):
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 24))
    # few different values, so that ties are everywhere, and both zeros among them
    levels = st.sampled_from([-2.5, -0.0, 0.0, 1.0, 3.25, float("inf"), float("-inf"), 1e-40, -1e-40])
    fine = st.floats(-10, 10, width=32)
    kind = draw(st.sampled_from([levels, fine]))
    scores = draw(st.lists(st.lists(kind, min_size=n_items, max_size=n_items), min_size=n_users, max_size=n_users))
    some = st.lists(st.lists(st.integers(0, n_items - 1), max_size=8), min_size=n_users, max_size=n_users)
    chunks = Chunks(draw(st.integers(1, 7)), draw(st.integers(1, 30)))
    return np.array(scores, dtype=np.float32), draw(st.integers(1, 30)), draw(some), draw(some), chunks


@settings(max_examples=80, deadline=None)
@given(cases())
def test_any_scores_and_chunks_give_the_ranking_of_a_plain_sort(case):
    scores, k, seen, targets, chunks = case
    ranking = rank_matrix(torch.from_numpy(scores), k, jagged(seen), jagged(targets), chunks)
    lists, ranks, ties = slow_ranking(scores, k, seen, targets)
    assert ranking.rows.tolist() == lists
    assert ranking.ranks.tolist() == ranks
    assert ranking.ties.tolist() == ties
    for user, row in enumerate(lists):
        expected = [scores[user, item] if item >= 0 else -np.inf for item in row]
        assert ranking.scores[user].tolist() == expected


def test_dot_products_of_many_users_agree_whatever_the_chunks():
    generator = torch.Generator().manual_seed(0)
    queries, items = torch.randn(50, 8, generator=generator), torch.randn(300, 8, generator=generator)
    items[100] = items[7]  # a real tie
    seen, targets = jagged([[u, u + 1] for u in range(50)]), jagged([[7, 100, 3 * u + 1] for u in range(50)])
    whole = top_k(queries, items, 20, seen, targets)
    parts = top_k(queries, items, 20, seen, targets, Chunks(users=7, items=64))
    assert torch.equal(whole.rows, parts.rows)
    assert torch.equal(whole.ranks, parts.ranks)
    assert torch.equal(whole.ties, parts.ties)
    assert (whole.ties.view(50, 3)[10:, :2] == 1).all()
    order = [slow_ranking((queries[u : u + 1] @ items.T).numpy(), 20, [[u, u + 1]], [[]])[0][0] for u in range(50)]
    assert whole.rows.tolist() == order


def test_all_equal_scores_come_in_row_order():
    ranking = rank_matrix(torch.zeros(3, 5000), 4, seen=jagged([[], [0, 2], []]), targets=jagged([[3], [4999], []]))
    assert ranking.rows.tolist() == [[0, 1, 2, 3], [1, 3, 4, 5], [0, 1, 2, 3]]
    assert ranking.ranks.tolist() == [4, 4998]
    assert ranking.ties.tolist() == [4999, 4997]


def test_fewer_candidates_than_asked_for_leave_padding():
    ranking = top_k(torch.ones(1, 1), torch.tensor([[3.0], [1.0], [2.0]]), 5, seen=jagged([[0]]))
    assert ranking.rows.tolist() == [[2, 1, -1, -1, -1]]
    assert ranking.scores.tolist() == [[2.0, 1.0, -torch.inf, -torch.inf, -torch.inf]]


def test_a_target_that_is_seen_or_unknown_has_no_rank():
    targets = jagged([[0, -1, 2]])
    ranking = top_k(torch.ones(1, 1), torch.tensor([[3.0], [1.0], [2.0]]), 1, seen=jagged([[0, -1]]), targets=targets)
    assert ranking.ranks.tolist() == [UNRANKED, UNRANKED, 1]
    assert ranking.ties.tolist() == [0, 0, 0]


def test_no_block_is_larger_than_a_chunk():
    sizes = []
    score = dot_product(torch.randn(100, 4), torch.randn(1000, 4))

    def scorer(users: slice, items: slice) -> torch.Tensor:
        block = score(users, items)
        sizes.append(tuple(block.shape))
        return block

    full_ranking(scorer, 100, 1000, 10, None, jagged([[1]] * 100), Chunks(users=16, items=128))
    assert max(users for users, _ in sizes) == 16
    assert max(items for _, items in sizes) == 128


def test_scores_are_exact_under_autocast_and_from_bfloat16():
    generator = torch.Generator().manual_seed(1)
    queries, items = torch.randn(4, 16, generator=generator), torch.randn(500, 16, generator=generator)
    exact = top_k(queries, items, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(top_k(queries, items, 50).rows, exact.rows)
    half = queries.bfloat16(), items.bfloat16()
    assert torch.equal(top_k(*half, 50).rows, top_k(half[0].float(), half[1].float(), 50).rows)


def test_a_second_pass_that_differs_in_the_last_bit_does_not_count_a_target_against_itself():
    scores, calls = torch.tensor([[1.0, 0.5, 0.25, 0.125]]), []

    def wavering(users: slice, items: slice) -> torch.Tensor:
        calls.append(items)
        block = scores[users, items].clone()
        return torch.nextafter(block, torch.tensor(2.0)) if len(calls) > 2 else block

    ranking = full_ranking(wavering, 1, 4, 2, None, jagged([[0, 1, 2, 3]]), Chunks(items=2))
    assert len(calls) == 4
    assert ranking.ranks.tolist() == [1, 2, 3, 4]
    assert ranking.ties.tolist() == [0, 0, 0, 0]


def test_no_users_give_an_empty_ranking():
    ranking = top_k(torch.zeros(0, 4), torch.zeros(9, 4), 3, seen=jagged([]), targets=jagged([]))
    assert ranking.rows.shape == (0, 3)
    assert ranking.ranks.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 2, "seen": jagged([[1]])}, "seen has 1 rows for 2 users"),
        ({"k": 2, "targets": jagged([[1], [5]])}, "targets has item rows from 1 to 5, of 5 items"),
        ({"k": 2, "queries": torch.tensor([[1.0], [torch.nan]])}, "NaN"),
        ({"k": 9, "queries": torch.tensor([[1.0], [-torch.nan]])}, "NaN"),
        ({"k": 2, "items": torch.zeros(0, 1)}, "no items"),
    ],
)
def test_bad_input_is_told_in_one_sentence(arguments, message):
    given_arguments = {"queries": torch.ones(2, 1), "items": torch.arange(5.0)[:, None]} | arguments
    with pytest.raises(InputError, match=message):
        top_k(**given_arguments)


def test_chunks_must_hold_something():
    with pytest.raises(InputError, match="at least 1"):
        Chunks(users=0)
