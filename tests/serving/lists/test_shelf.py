"""The catalogue and new items as one: against brute force over all vectors, ties and left-out items included."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.vocabulary import Vocabulary
from recsys.index import IndexConfig, ItemIndex
from serving.lists.raw_ids import FieldError, RawIds
from serving.lists.shelf import Placed, Shelf


def shelf_of(vectors, new, width=3, config=None, precision="fp32", integers=False):
    """A catalogue of the given vectors, with new items between its ids and beyond."""
    index = ItemIndex.build(np.asarray(vectors, np.float32), config, precision=precision)
    known = [2 * n if integers else f"i{2 * n:03d}" for n in range(len(index))]
    titles = pl.Series("title", [f"title {one}" for one in known])
    shelf = Shelf(index, RawIds(Vocabulary.fit("item_id", pl.Series(known))), width, titles)
    others = [2 * n + 1 if integers else f"i{2 * n + 1:03d}" for n in range(len(new))]
    placed = {one: Placed(np.asarray(v, np.float32), f"new {one}") for one, v in zip(others, new, strict=True)}
    return shelf.with_new(dict(reversed(placed.items())))


def brute_force(vectors, query, k, left_out):
    scores = (np.asarray(vectors, np.float64) @ query.astype(np.float64)).astype(np.float32)
    rows = [row for row in np.argsort(-scores, kind="stable").tolist() if row not in left_out][:k]
    missing = k - len(rows)
    return rows + [-1] * missing, scores[rows].tolist() + [-np.inf] * missing


#: few different numbers, so that many scores are equal
VECTOR = st.lists(st.integers(-1, 2), min_size=3, max_size=3)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_search_is_the_ranking_of_all_vectors(data):
    vectors = data.draw(st.lists(VECTOR, min_size=1, max_size=25))
    new = data.draw(st.lists(VECTOR, max_size=12))
    queries = np.array(data.draw(st.lists(VECTOR, min_size=1, max_size=4)), np.float32)
    k = data.draw(st.integers(1, 40))
    shelf = shelf_of(vectors, new)
    assert (len(shelf), shelf.n_new) == (len(vectors) + len(new), len(new))
    seen = [data.draw(st.lists(st.integers(0, len(shelf) - 1))) for _ in queries]
    exclude = JaggedArray.from_pairs(
        np.repeat(np.arange(len(queries)), [len(one) for one in seen]),
        np.array([row for one in seen for row in one], np.int64),
        len(queries),
    )
    for skip in (None, exclude):
        scores, rows = shelf.search(queries, k, skip)
        for n, query in enumerate(queries):
            expected = brute_force(vectors + new, query, k, seen[n] if skip is not None else [])
            assert (rows[n].tolist(), scores[n].tolist()) == expected
    assert shelf.of_catalogue(queries, k, exclude)[1].max() < len(vectors)


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_beside_any_index_all_new_items_are_compared(kind, precision):
    random = np.random.default_rng(0)
    vectors, new, queries = (random.standard_normal((n, 8)).astype(np.float32) for n in (300, 40, 20))
    shelf = shelf_of(vectors, new, 8, IndexConfig(kind, probes=1), precision)
    scores, rows = shelf.search(queries, 15)
    of_catalogue = shelf.of_catalogue(queries, 15)
    for n, query in enumerate(queries):
        own = (new.astype(np.float64) @ query).astype(np.float32)
        both = np.concatenate([of_catalogue[0][n], own]), np.concatenate([of_catalogue[1][n], 300 + np.arange(40)])
        order = np.argsort(-both[0], kind="stable")[:15]
        assert rows[n].tolist() == both[1][order].tolist()
        assert scores[n].tolist() == both[0][order].tolist()
    assert (rows >= 300).any()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_similar_items_are_found_among_both(precision):
    random = np.random.default_rng(1)
    vectors, new = random.standard_normal((70, 5)), random.standard_normal((20, 5))
    shelf = shelf_of(vectors, new, 4, precision=precision)
    stored = np.concatenate([shelf.index.stored(0), new.astype(np.float32)])[:, :4].astype(np.float64)
    units = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    cosines = (units @ units.T).astype(np.float32)
    np.fill_diagonal(cosines, -np.inf)
    scores, rows = shelf.neighbours.of(np.array([3, 75, 89]), 30)
    for n, row in enumerate([3, 75, 89]):
        assert rows[n].tolist() == np.argsort(-cosines[row], kind="stable")[:30].tolist()
        assert scores[n] == pytest.approx(np.sort(cosines[row])[::-1][:30], abs=1e-6)


@pytest.mark.parametrize("integers", [True, False])
def test_ids_and_rows_lead_to_each_other(integers):
    shelf = shelf_of(np.eye(3), np.ones((2, 3)), integers=integers)
    ids = [0, 2, 4, 1, 3] if integers else ["i000", "i002", "i004", "i001", "i003"]
    assert shelf.ids_of(np.arange(5)) == ids
    assert shelf.ids_of(np.array([4, 0, 4])) == [ids[4], ids[0], ids[4]]
    assert shelf.rows([*ids, None], "x").tolist() == [0, 1, 2, 3, 4, -1]
    if integers:
        assert shelf.rows(["3", 3, "03", "4", 10**30], "x").tolist() == [4, 4, -1, 2, -1]
    else:
        with pytest.raises(FieldError, match=r"x\[1\] is the integer 3; the ids 'item_id' are strings"):
            shelf.rows(["i003", 3], "x")
    assert shelf.titles.to_list() == [f"{'title' if n < 3 else 'new'} {one}" for n, one in enumerate(ids)]


def test_new_items_can_go_again():
    shelf = shelf_of(np.eye(3), np.ones((2, 3)))
    bare = shelf.with_new({})
    assert (len(bare), bare.n_new, bare.new_ids) == (3, 0, None)
    assert bare.titles.to_list() == ["title i000", "title i002", "title i004"]
    assert bare.rows(["i001", "i002"], "x").tolist() == [-1, 1]
    assert len(shelf) == 5  # whoever has the earlier one, keeps it


def test_the_longest_vector_may_be_a_new_one():
    assert shelf_of(np.eye(3), []).max_norm == 1
    assert shelf_of(np.eye(3), [[3, 4, 0]]).max_norm == 5
