"""An index of quantised vectors: exact over them, honest about what was lost, the same from its file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.errors import InputError
from recsys.index import IndexConfig, ItemIndex

KINDS = ("exact", "hnsw", "ivf")


def decoded(vectors, precision):
    """What the definition makes of the vectors: fp16, or the middle of each of a column's 255 steps."""
    if precision == "fp16":
        return vectors.astype(np.float16).astype(np.float64)
    wide = vectors.astype(np.float64)
    low, spread = wide.min(0), np.ptp(wide, axis=0)
    codes = np.floor(255 * (wide - low) / np.where(spread > 0, spread, 1))
    return low + np.where(spread > 0, (codes + 0.5) / 255 * spread, 0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_items=st.integers(1, 300),
    k=st.integers(1, 40),
    precision=st.sampled_from(["fp16", "int8"]),
    coarse=st.booleans(),
)
def test_the_exact_index_is_exact_over_the_quantised_vectors(seed, n_items, k, precision, coarse):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n_items, 5)).astype(np.float32)
    queries = random.standard_normal((6, 5)).astype(np.float32)
    if coarse:  # ties everywhere
        vectors = np.round(vectors / 2)
    index = ItemIndex.build(vectors, precision=precision)
    stored = index.stored(0)
    step = np.ptp(vectors, axis=0) / 255 if precision == "int8" else np.abs(vectors) * 2.0**-10
    assert (np.abs(stored - decoded(vectors, precision)) <= step + 1e-6).all()  # a number on a border may go either way
    assert (np.abs(stored - vectors) <= step / 2 + 1e-6).all()
    skip = [random.permutation(n_items)[: random.integers(0, n_items + 1)] for _ in queries]
    exclude = JaggedArray(np.concatenate(skip), np.cumsum([0, *map(len, skip)]))
    scores, rows = index.search(queries, k, exclude)
    expected = (queries.astype(np.float64) @ stored.astype(np.float64).T).astype(np.float32)
    for n in range(len(queries)):
        expected[n, skip[n]] = -np.inf
        order = np.argsort(-expected[n], kind="stable")[: min(k, n_items - len(skip[n]))]
        assert rows[n, : len(order)].tolist() == order.tolist()
        assert scores[n, : len(order)].tolist() == expected[n, order].tolist()
        assert (rows[n, len(order) :] == -1).all()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_near_ties_beyond_the_margin_are_still_ranked_exactly(precision):
    random = np.random.default_rng(1)
    query = random.standard_normal((1, 64)).astype(np.float32) * 10
    vectors = np.repeat(random.standard_normal((1, 64)).astype(np.float32) * 10, 400, axis=0)
    vectors[:, 0] += random.standard_normal(400).astype(np.float32) * 1e-6
    index = ItemIndex.build(vectors, precision=precision)
    expected = (query.astype(np.float64) @ index.stored(0).astype(np.float64).T).astype(np.float32)
    assert index.search(query, 10)[1][0].tolist() == np.argsort(-expected[0], kind="stable")[:10].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_saved_and_loaded_it_answers_the_same_and_is_smaller(tmp_path, kind, precision):
    random = np.random.default_rng(5)
    vectors = random.standard_normal((800, 32)).astype(np.float32)
    queries = random.standard_normal((64, 32)).astype(np.float32)
    config = IndexConfig(kind, lists=20, probes=20, ef_construction=40)
    index = ItemIndex.build(vectors, config, queries, precision)
    assert 0.95 < index.recall < 1.0 or (precision == "fp16" and index.recall > 0.99)
    index.save(tmp_path / "items.faiss")
    expected = index.search(queries, 30)
    for mmap in (False, True):
        loaded = ItemIndex.load(tmp_path / "items.faiss", mmap=mmap)
        assert (loaded.precision, loaded.recall, loaded.max_norm) == (precision, index.recall, index.max_norm)
        together, alone = loaded.search(queries, 30), loaded.search(queries[3:4], 30)
        for n in range(2):
            np.testing.assert_array_equal(together[n], expected[n])
            np.testing.assert_array_equal(alone[n][0], expected[n][3])
    ItemIndex.build(vectors, config).save(tmp_path / "full.faiss")
    saved = (tmp_path / "full.faiss").stat().st_size - (tmp_path / "items.faiss").stat().st_size
    assert saved > vectors.size * {"fp16": 2, "int8": 3}[precision] * 0.98


def test_a_precision_that_the_file_has_not_is_refused(tmp_path):
    ItemIndex.build(np.eye(4, dtype=np.float32), precision="int8").save(tmp_path / "items.faiss")
    beside = tmp_path / "items.faiss.json"
    facts = json.loads(beside.read_text())
    for claimed in ("fp32", "fp16", "int4"):
        beside.write_text(json.dumps({**facts, "precision": claimed}))
        with pytest.raises(InputError, match=r"^items\.faiss cannot be read as an index: "):
            ItemIndex.load(tmp_path / "items.faiss")


def test_numbers_beyond_half_precision_are_refused():
    vectors = np.full((3, 2), 1e5, np.float32)
    with pytest.raises(InputError, match="item vectors hold 100000, and fp16 holds at most 65504"):
        ItemIndex.build(vectors, precision="fp16")
    assert ItemIndex.build(vectors, precision="int8").search(vectors[:1], 3)[1].tolist() == [[0, 1, 2]]
