"""Clusters against networkx, and by what each kind promises."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from recsys.entities.agreement import pairwise
from recsys.entities.assignment import one_to_one
from recsys.entities.clusters import ABSENT, CLUSTERS, Sources, clusters


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Records and scored pairs of them, each once."""
    n = draw(st.integers(2, 14))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30))
    pairs = sorted({(min(one), max(one)) for one in pairs if one[0] != one[1]})
    odds = draw(st.lists(st.floats(-5, 5, width=32), min_size=len(pairs), max_size=len(pairs)))
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return n, rows[:, 0], rows[:, 1], np.array(odds)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_components_are_those_of_networkx(graph: tuple) -> None:
    n, one, other, odds = graph
    likely = nx.Graph()
    likely.add_nodes_from(range(n))
    likely.add_edges_from(zip(one[odds > 0].tolist(), other[odds > 0].tolist(), strict=True))
    expected = np.zeros(n, np.int64)
    for component in nx.connected_components(likely):
        expected[list(component)] = min(component)
    assert clusters(n, (one, other), odds, "components").tolist() == expected.tolist()


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_all_of_a_centre_are_paired_with_it(graph: tuple) -> None:
    n, one, other, odds = graph
    found = clusters(n, (one, other), odds, "centre")
    likely = {frozenset(pair) for pair in zip(one[odds > 0].tolist(), other[odds > 0].tolist(), strict=True)}
    for name in set(found.tolist()):
        members = np.flatnonzero(found == name).tolist()
        assert len(members) == 1 or any(
            all(frozenset((centre, member)) in likely for member in members if member != centre) for centre in members
        )


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_no_two_correlation_clusters_would_better_be_one(graph: tuple) -> None:
    n, one, other, odds = graph
    found = clusters(n, (one, other), odds, "correlation")
    said = {
        frozenset(pair): value for pair, value in zip(zip(one.tolist(), other.tolist(), strict=True), odds, strict=True)
    }

    def between(mine: list[int], others: list[int]) -> float:
        return sum(said.get(frozenset((a, b)), ABSENT) for a in mine for b in others)

    groups = [np.flatnonzero(found == name).tolist() for name in sorted(set(found.tolist()))]
    whole = clusters(n, (one, other), odds, "components")
    for place, mine in enumerate(groups):
        assert len(set(whole[mine])) == 1  # never more than a component
        for others in groups[place + 1 :]:
            if whole[mine[0]] == whole[others[0]]:
                assert between(mine, others) <= 1e-6


@pytest.mark.parametrize("kind", ["centre", "correlation"])
def test_a_weak_bridge_joins_nothing(kind: str) -> None:
    """Two things, of four records each that are all alike, and one likely pair between them."""
    rows = [(a, b) for start in (0, 4) for a in range(start, start + 4) for b in range(a + 1, start + 4)]
    rows, odds = np.array([*rows, (3, 4)]).T, np.array([3.0] * 12 + [0.5])
    assert clusters(8, (rows[0], rows[1]), odds, "components").tolist() == [0] * 8
    assert clusters(8, (rows[0], rows[1]), odds, kind).tolist() == [0] * 4 + [4] * 4


@settings(max_examples=80, deadline=None)
@given(graphs(), st.sampled_from(CLUSTERS), st.randoms(use_true_random=False))
def test_the_order_of_pairs_changes_nothing(graph: tuple, kind: str, random) -> None:
    n, one, other, odds = graph
    order = list(range(len(odds)))
    random.shuffle(order)
    turned = np.array([random.random() < 0.5 for _ in order], bool)
    rows = np.where(turned, other[order], one[order]), np.where(turned, one[order], other[order])
    assert clusters(n, rows, odds[order], kind).tolist() == clusters(n, (one, other), odds, kind).tolist()


@pytest.mark.parametrize("kind", CLUSTERS)
def test_no_pairs_leave_all_apart(kind: str) -> None:
    none = np.zeros(0, np.int64)
    assert clusters(3, (none, none), np.zeros(0), kind).tolist() == [0, 1, 2]
    assert clusters(0, (none, none), np.zeros(0), kind).tolist() == []


def test_kinds_are_named() -> None:
    with pytest.raises(InputError, match="components, centre, correlation, not by 'magic'"):
        clusters(1, (np.zeros(0, int), np.zeros(0, int)), np.zeros(0), "magic")


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_one_to_one_is_the_best_there_is(graph: tuple) -> None:
    _, left, right, odds = graph
    kept = one_to_one(left, right, odds)
    assert len(set(left[kept])) == len(set(right[kept])) == len(kept) and (odds[kept] > 0).all()
    both = nx.Graph()
    for a, b, value in zip(left.tolist(), right.tolist(), odds.tolist(), strict=True):
        if value > 0:
            both.add_edge(("l", a), ("r", b), weight=value)
    best = sum(both.edges[edge]["weight"] for edge in nx.max_weight_matching(both))
    assert abs(odds[kept].sum() - best) < 1e-4


def test_a_huge_component_is_assigned_greedily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.entities.assignment._EXACT", 1)
    assert one_to_one(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([3.0, 2.5, 2.0])).tolist() == [0]


def test_agreement_of_clusters() -> None:
    assert pairwise(np.array([0, 0, 1]), np.array([5, 5, 7])) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    assert pairwise(np.array([0, 1, 2]), np.array([5, 5, 5]))["recall"] == 0.0


@pytest.mark.parametrize("kind", ["correlation", "centre"])
def test_many_offers_of_one_thing_are_one_entity(kind: str) -> None:
    """Offers of one source are never compared with each other, which says nothing against them."""
    shop, offers = np.full(8, 8), np.arange(8)  # the shop's record has the highest row
    of = Sources(np.array([0] * 8 + [1]))
    assert clusters(9, (offers, shop), np.full(8, 4.0), kind, of).tolist() == [0] * 9


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(2, 4), st.sampled_from(CLUSTERS))
def test_one_to_one_brings_no_two_of_a_source_together(graph: tuple, sources: int, kind: str) -> None:
    n, one, other, odds = graph
    source = np.arange(n) % sources
    found = clusters(n, (one, other), odds, kind, Sources(source, one_to_one=True))
    pairs = list(zip(found.tolist(), source.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    whole = clusters(n, (one, other), odds, "components")
    assert all(len(set(whole[found == name])) == 1 for name in set(found.tolist()))
