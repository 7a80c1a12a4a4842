"""Ranking measures, against loops written from their definitions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import Jagged
from features.errors import InputError
from recsys.metrics import MetricSums, RankedTargets, UserSums
from recsys.target_ranks import UNRANKED
from recsys.top_k import Ranking, full_ranking


def jagged(rows: list[list[int]]) -> Jagged:
    values = torch.tensor([value for row in rows for value in row], dtype=torch.int64)
    return Jagged(values, torch.tensor([len(row) for row in rows], dtype=torch.int64))


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def slow_figures(lists: list[list[int]], targets: list[list[int]], k: int) -> dict[str, float]:
    hits, gains, reciprocals, recalls, user_gains = [], [], [], [], []
    for row, wanted in zip(lists, targets, strict=True):
        places = {item: place for place, item in enumerate(row[:k], start=1) if item >= 0}
        for target in wanted:
            place = places.get(target)
            hits.append(1.0 if place else 0.0)
            gains.append(1 / math.log2(place + 1) if place else 0.0)
            reciprocals.append(1 / place if place else 0.0)
        if wanted:
            found = [places[item] for item in set(wanted) if item in places]
            recalls.append(len(found) / len(set(wanted)))
            ideal = sum(1 / math.log2(place + 1) for place in range(1, min(len(set(wanted)), k) + 1))
            user_gains.append(sum(1 / math.log2(place + 1) for place in found) / ideal)
    figures = {"hr": hits, "ndcg": gains, "mrr": reciprocals, "recall": recalls, "user_ndcg": user_gains}
    return {f"{name}@{k}": mean(values) for name, values in figures.items()}


@st.composite
def evaluations(draw):
    n_users, n_items = draw(st.integers(0, 6)), draw(st.integers(1, 15))
    seed = draw(st.integers(0, 2**31))
    scores = torch.randint(
        0, draw(st.integers(1, 30)), (n_users, n_items), generator=torch.Generator().manual_seed(seed)
    )
    rows = st.lists(st.lists(st.integers(0, n_items - 1), max_size=6), min_size=n_users, max_size=n_users)
    return (
        scores.float(),
        draw(rows),
        draw(rows),
        draw(st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True)),
    )


def ranked(scores, seen, targets, k) -> RankedTargets:
    ranking = full_ranking(lambda u, i: scores[u, i].clone(), *scores.shape, k, jagged(seen), jagged(targets))
    return RankedTargets.of(ranking, jagged(targets))


@settings(max_examples=80, deadline=None)
@given(evaluations())
def test_all_figures_follow_their_definitions(case):
    scores, seen, targets, ks = case
    result = ranked(scores, seen, targets, max(ks))
    values = MetricSums.of(result, ks, scores.shape[1]).values()
    lists = result.lists.tolist()
    for k in ks:
        for name, expected in slow_figures(lists, targets, k).items():
            assert values[name] == pytest.approx(expected, nan_ok=True), name
        listed = {item for row in lists for item in row[:k]} - {-1}
        assert values[f"coverage@{k}"] == pytest.approx(len(listed) / scores.shape[1])
    assert values["queries"] == sum(map(len, targets))
    assert values["users"] == sum(map(bool, targets))
    assert values["unreachable"] == sum(t in gone for row, gone in zip(targets, seen, strict=True) for t in row)
    left = [
        [score for item, score in enumerate(row) if item not in gone]
        for row, gone in zip(scores.tolist(), seen, strict=True)
    ]
    tied = [
        target not in seen[user] and left[user].count(float(scores[user, target])) > 1
        for user, row in enumerate(targets)
        for target in row
    ]
    assert values["ties"] == sum(tied)


@settings(max_examples=40, deadline=None)
@given(evaluations())
def test_lists_alone_give_the_same_figures(case):
    scores, seen, targets, ks = case
    result = ranked(scores, seen, targets, max(ks))
    full = MetricSums.of(result, ks, scores.shape[1]).values()
    listed = MetricSums.of(RankedTargets.in_lists(result.lists, jagged(targets)), ks, scores.shape[1]).values()
    assert "ties" not in listed
    assert "unreachable" not in listed
    assert listed == pytest.approx({name: full[name] for name in listed}, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(evaluations(), st.integers(0, 6))
def test_sums_of_parts_are_the_sums_of_the_whole(case, cut):
    scores, seen, targets, ks = case
    n_items = scores.shape[1]
    slices = {"even": torch.tensor([target % 2 == 0 for row in targets for target in row], dtype=torch.bool)}
    whole = MetricSums.of(ranked(scores, seen, targets, max(ks)), ks, n_items, slices)
    done = sum(map(len, targets[:cut]))
    first, second = (
        MetricSums.of(
            ranked(scores[part], seen[part], targets[part], max(ks)), ks, n_items, {"even": slices["even"][of]}
        )
        for part, of in ((slice(0, cut), slice(0, done)), (slice(cut, None), slice(done, None)))
    )
    assert (first + second).values() == pytest.approx(whole.values(), nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(evaluations())
def test_figures_grow_with_k(case):
    scores, seen, targets, ks = case
    ks = sorted(ks)
    values = MetricSums.of(ranked(scores, seen, targets, max(ks)), ks, scores.shape[1]).values()
    for name in ("hr", "ndcg", "mrr", "recall", "coverage"):
        figures = [values[f"{name}@{k}"] for k in ks]
        assert all(math.isnan(figure) for figure in figures) or figures == sorted(figures)


def test_a_slice_is_measured_as_if_its_targets_were_all_there_are():
    scores = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    targets = [[u, (u * 7 + 1) % 30, 29 - u] for u in range(20)]
    cold = [[item for item in row if item < 10] for row in targets]
    mask = torch.tensor([item < 10 for row in targets for item in row])
    nothing = [[]] * 20
    whole = ranked(scores, nothing, targets, 5)
    both = MetricSums.of(whole, [5], 30, {"cold": mask, "empty": mask & False}).values()
    alone = MetricSums.of(ranked(scores, nothing, cold, 5), [5], 30).values()
    for name in ("hr@5", "ndcg@5", "mrr@5", "recall@5", "user_ndcg@5", "queries", "users"):
        assert both[f"cold/{name}"] == pytest.approx(alone[name])
    assert both["empty/queries"] == 0
    assert math.isnan(both["empty/hr@5"])
    assert "cold/coverage@5" not in both  # the lists are not the slice's


def test_an_item_listed_twice_counts_where_it_comes_first_and_padding_is_never_found():
    lists = torch.tensor([[5, 3, 5], [2, -1, -1]])
    result = RankedTargets.in_lists(lists, jagged([[5, 3, 9], [-1, 2]]))
    assert result.ranks.tolist() == [1, 2, UNRANKED, UNRANKED, 1]


def test_a_target_that_is_given_twice_is_two_queries_but_one_member_of_the_users_set():
    values = MetricSums.of(RankedTargets.in_lists(torch.tensor([[0, 1]]), jagged([[0, 0, 7]])), [2], 8).values()
    assert values["hr@2"] == pytest.approx(2 / 3)
    assert values["recall@2"] == pytest.approx(1 / 2)


def test_map_sums_over_ranks():
    one = MetricSums.of(RankedTargets.in_lists(torch.tensor([[0, 1]]), jagged([[1]])), [1, 2], 4)
    twice = one.map(lambda tensor: tensor * 2)  # what an all-reduce over two equal ranks does
    assert twice.values() == (one + one).values()
    assert twice.values()["queries"] == 2
    assert twice.values()["coverage@2"] == 0.5


def test_user_sums_add_up_to_the_figures():
    result = RankedTargets.in_lists(torch.tensor([[0, 1], [2, 3], [1, 0]]), jagged([[1], [], [1, 3]]))
    users, sums = UserSums.of(result, [2]), MetricSums.of(result, [2], 4)
    assert users.names == sums.names
    assert torch.equal(users.sums.sum(0), sums.sums)
    assert users.counts[1].sum() == 0  # a user without targets counts nowhere


def test_bad_input_is_told_in_one_sentence():
    result = RankedTargets.in_lists(torch.tensor([[0, 1]]), jagged([[1]]))
    with pytest.raises(InputError, match="these have 2"):
        MetricSums.of(result, [3], 4)
    with pytest.raises(InputError, match="'cold' has 2 marks for 1 targets"):
        MetricSums.of(result, [1], 4, {"cold": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(InputError, match="item row 1 of 1 items"):
        MetricSums.of(result, [2], 1)
    with pytest.raises(InputError, match="1 lists for the targets of 2 users"):
        RankedTargets.in_lists(torch.tensor([[0, 1]]), jagged([[1], [0]]))
    with pytest.raises(InputError, match="without targets"):
        RankedTargets.of(Ranking(torch.zeros(1, 1), torch.zeros(1, 1)), jagged([[1]]))
    with pytest.raises(InputError, match="same measures"):
        MetricSums.of(result, [1], 4) + MetricSums.of(result, [2], 4)
