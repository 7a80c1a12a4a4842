"""Searches among some of the items: against brute force, and full lists from every kind of index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.errors import InputError
from recsys import index_kinds
from recsys.index import IndexConfig, ItemIndex
from recsys.row_set import RowSet
from recsys.similar import Neighbours

KINDS = ("exact", "hnsw", "ivf")


@pytest.fixture(params=[0, 4096], ids=["asked", "compared"])
def few(request, monkeypatch):
    """Small sets are asked of the index, as large ones are, or compared one by one."""
    monkeypatch.setattr(index_kinds, "_FEW", request.param)
    return request.param


def brute_force(vectors, query, k, allowed):
    scores = (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    rows = [row for row in np.argsort(-scores, kind="stable").tolist() if row in allowed][:k]
    return rows + [-1] * (k - len(rows)), scores[rows].tolist() + [-np.inf] * (k - len(rows))


def excluded(random, n_queries, n_items):
    rows = [random.integers(0, n_items, random.integers(0, n_items)) for _ in range(n_queries)]
    return JaggedArray(np.concatenate([*rows, np.empty(0, np.int64)]), np.cumsum([0, *map(len, rows)]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_items=st.integers(1, 200),
    n_queries=st.integers(1, 6),
    k=st.integers(0, 30),
    share=st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]),
    coarse=st.booleans(),
    precision=st.sampled_from(["fp32", "int8"]),
    compared=st.booleans(),
)
def test_the_exact_index_is_brute_force(seed, n_items, n_queries, k, share, coarse, precision, compared):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n_items, 5)).astype(np.float32)
    queries = random.standard_normal((n_queries, 5)).astype(np.float32)
    if coarse:  # ties everywhere
        vectors, queries = np.round(vectors / 2), np.round(queries / 2)
    index = ItemIndex.build(vectors, precision=precision)
    among = RowSet(random.random(n_items) < share)
    exclude = excluded(random, n_queries, n_items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_kinds, "_FEW", 4096 if compared else 0)
        for skip in (None, exclude):
            scores, rows = index.search(queries, k, skip, among=among)
            for n, query in enumerate(queries):
                allowed = set(among.rows.tolist()) - set(skip.row(n).tolist() if skip is not None else ())
                expected = brute_force(index.stored(0), query, k, allowed)
                assert (rows[n].tolist(), scores[n].tolist()) == expected


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("share", [0.004, 0.05, 0.5, 0.98])
def test_an_approximate_index_gives_nothing_else_and_as_many_as_there_are(few, kind, precision, share):
    random = np.random.default_rng(0)
    vectors, queries = (random.standard_normal((n, 8)).astype(np.float32) for n in (2500, 20))
    index = ItemIndex.build(vectors, IndexConfig(kind, lists=40, probes=1, ef_search=1), precision=precision)
    among, exclude = RowSet(random.random(2500) < share), excluded(random, 20, 2500)
    for skip in (None, exclude):
        _, rows = index.search(queries, 40, skip, among=among)
        for n in range(20):
            allowed = set(among.rows.tolist()) - set(skip.row(n).tolist() if skip is not None else ())
            found = rows[n][rows[n] >= 0].tolist()
            assert len(set(found)) == len(found) == min(40, len(allowed))
            assert set(found) <= allowed


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_the_fewer_items_pass_the_wider_an_approximate_index_looks(kind, monkeypatch):
    monkeypatch.setattr(index_kinds, "_FEW", 0)
    random = np.random.default_rng(1)
    vectors, queries = (random.standard_normal((n, 16)).astype(np.float32) for n in (4000, 60))
    index = ItemIndex.build(vectors, IndexConfig(kind, lists=50, probes=5, ef_search=16))
    found = []
    for share in (1.0, 0.5, 0.25):
        among = RowSet(random.random(4000) < share)
        _, rows = index.search(queries, 10, among=among)
        expected = [brute_force(vectors, query, 10, set(among.rows.tolist()))[0] for query in queries]
        found.append(np.mean([len(set(a) & set(b)) for a, b in zip(rows.tolist(), expected, strict=True)]))
    assert min(found[1:]) > found[0] - 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_one_query_alone_answers_as_in_a_batch(few, kind):
    random = np.random.default_rng(3)
    vectors, queries = (random.standard_normal((n, 33)).astype(np.float32) for n in (3000, 40))
    index = ItemIndex.build(vectors, IndexConfig(kind, lists=20, probes=8))
    for share in (0.02, 0.8):
        among = RowSet(random.random(3000) < share)
        together = index.search(queries, 20, among=among)
        for n in range(0, 40, 7):
            alone = index.search(queries[n : n + 1], 20, among=among)
            np.testing.assert_array_equal(alone[1][0], together[1][n])
            np.testing.assert_array_equal(alone[0][0], together[0][n])


def test_near_ties_beyond_the_margin_are_ranked_exactly(few):
    random = np.random.default_rng(1)
    query = random.standard_normal((1, 64)).astype(np.float32) * 10
    vectors = np.repeat(random.standard_normal((1, 64)).astype(np.float32) * 10, 600, axis=0)
    vectors[:, 0] += random.standard_normal(600).astype(np.float32) * 1e-6
    among = RowSet(random.random(600) < 0.7)
    skip = JaggedArray(among.rows[::9].copy(), np.array([0, len(among.rows[::9])]))
    allowed = set(among.rows.tolist()) - set(skip.values.tolist())
    index = ItemIndex.build(vectors)
    assert index.search(query, 10, skip, among=among)[1][0].tolist() == brute_force(vectors, query[0], 10, allowed)[0]


def test_a_set_of_another_catalogue_is_refused():
    with pytest.raises(InputError, match=r"some of 3, and the index has 4"):
        ItemIndex.build(np.eye(4, dtype=np.float32)).search(np.ones((1, 4)), 1, among=RowSet(np.ones(3, bool)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31), share=st.sampled_from([0.0, 0.05, 0.5, 1.0]), coarse=st.booleans(), k=st.integers(1, 40)
)
def test_similar_items_among_some_are_those_of_the_highest_cosine(seed, share, coarse, k):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((80, 4)).astype(np.float32)
    if coarse:  # ties, and vectors that point nowhere
        vectors = np.round(vectors)
    among = RowSet(random.random(80) < share)
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    units = np.divide(vectors, lengths, out=np.zeros((80, 4)), where=lengths > 0)
    cosines = (units @ units.T).astype(np.float32)
    asked = random.integers(0, 80, 5)
    scores, rows = Neighbours(ItemIndex.build(vectors)).of(asked, k, among)
    for n, row in enumerate(asked.tolist()):
        nowhere = {other for other in range(80) if not lengths[other, 0] or not lengths[row, 0]}
        allowed = set(among.rows.tolist()) - {row} - nowhere
        found = rows[n][rows[n] >= 0].tolist()
        assert len(set(found)) == len(found) == min(k, len(allowed)) and set(found) <= allowed
        best = sorted((float(cosines[row, other]) for other in allowed), reverse=True)[:k]
        assert scores[n][: len(best)].tolist() == pytest.approx(best, abs=1e-6)


def test_sets_of_rows_are_the_same_however_they_are_given():
    one = RowSet.of_rows(np.array([70, 3, 3, 8]), 100)
    assert (len(one), one.size, one.rows.tolist()) == (3, 100, [3, 8, 70])
    assert np.array_equal(np.unpackbits(one.bits, count=100, bitorder="little"), one.marks)
    assert one.part(3, 71).rows.tolist() == [0, 5, 67] and one.part(0, 100) is one
    assert repr(one) == "RowSet(3 of 100 rows)"
