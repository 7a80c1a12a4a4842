"""The index against brute force, the same answer whatever the batch, and its files."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.batches import JaggedArray
from features.errors import InputError
from recsys.index import IndexConfig, ItemIndex

KINDS = ("exact", "hnsw", "ivf")


def brute_force(vectors, queries, k, exclude=None):
    """The definition: inner products rounded to float32, larger first, ties by row."""
    scores = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    if exclude is not None:
        for n in range(len(queries)):
            scores[n, exclude.row(n)] = -np.inf
    k_there = min(k, len(vectors))
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k_there]
    best = np.take_along_axis(scores, rows, 1)
    rows[np.isneginf(best)] = -1
    pad = ((0, 0), (0, k - k_there))
    return np.pad(best, pad, constant_values=-np.inf), np.pad(rows, pad, constant_values=-1)


def random_exclude(random, n_queries, n_items, most):
    rows = [random.permutation(n_items)[: random.integers(0, most + 1)] for _ in range(n_queries)]
    return JaggedArray(np.concatenate([*rows, np.empty(0, np.int64)]), np.cumsum([0, *map(len, rows)]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_items=st.integers(1, 300),
    n_queries=st.integers(0, 12),
    k=st.integers(0, 40),
    coarse=st.booleans(),
)
def test_exact_index_is_brute_force_with_ties_by_row(seed, n_items, n_queries, k, coarse):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n_items, 5)).astype(np.float32)
    queries = random.standard_normal((n_queries, 5)).astype(np.float32)
    if coarse:  # few distinct vectors, and zero queries: ties everywhere
        vectors, queries = np.round(vectors / 2), np.round(queries / 2)
    exclude = random_exclude(random, n_queries, n_items, n_items)
    index = ItemIndex.build(vectors)
    for skip in (None, exclude):
        scores, rows = index.search(queries, k, skip)
        expected_scores, expected_rows = brute_force(vectors, queries, k, skip)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_array_equal(scores, expected_scores)
        assert rows.dtype == np.int64 and rows.shape == (n_queries, k)


@pytest.mark.parametrize("kind", KINDS)
def test_one_query_alone_answers_as_in_a_large_batch(kind):
    random = np.random.default_rng(3)
    vectors = random.standard_normal((3000, 33)).astype(np.float32)
    queries = random.standard_normal((64, 33)).astype(np.float32)
    index = ItemIndex.build(vectors, IndexConfig(kind, lists=20, probes=20))
    together = index.search(queries, 20)
    for n in range(len(queries)):
        alone = index.search(queries[n : n + 1], 20)
        np.testing.assert_array_equal(alone[1][0], together[1][n])
        np.testing.assert_array_equal(alone[0][0], together[0][n])


def test_near_ties_beyond_the_margin_are_still_ranked_exactly():
    # 400 vectors whose scores differ by less than what float32 sums are off by
    random = np.random.default_rng(1)
    query = random.standard_normal((1, 64)).astype(np.float32) * 10
    vectors = np.repeat(random.standard_normal((1, 64)).astype(np.float32) * 10, 400, axis=0)
    vectors[:, 0] += random.standard_normal(400).astype(np.float32) * 1e-6
    index = ItemIndex.build(vectors)
    np.testing.assert_array_equal(index.search(query, 10)[1], brute_force(vectors, query, 10)[1])
    many = np.repeat(query, 40, axis=0)
    np.testing.assert_array_equal(index.search(many, 10)[1], brute_force(vectors, many, 10)[1])


@pytest.mark.parametrize("kind", KINDS)
def test_recall_is_measured_and_excluded_items_never_come_back(kind):
    random = np.random.default_rng(0)
    centres = random.standard_normal((30, 16)) * 3
    vectors = (centres[random.integers(0, 30, 4000)] + random.standard_normal((4000, 16))).astype(np.float32)
    queries = random.standard_normal((50, 16)).astype(np.float32)
    index = ItemIndex.build(vectors, IndexConfig(kind, probes=8), queries)
    expected = brute_force(vectors, queries, 100)[1]
    found = index.search(queries, 100)[1]
    recall = np.mean([len(set(a) & set(b)) / 100 for a, b in zip(found, expected, strict=True)])
    assert index.recall == pytest.approx(recall, abs=1e-3)
    assert index.recall == 1.0 if kind == "exact" else 0.8 < index.recall < 1.0 + 1e-9
    exclude = random_exclude(random, 50, 4000, 900)
    _, rows = index.search(queries, 30, exclude)
    assert (rows >= 0).all()
    for n in range(50):
        assert not set(rows[n]) & set(exclude.row(n))
        assert len(set(rows[n])) == 30


@pytest.mark.parametrize("kind", KINDS)
def test_lists_are_full_though_the_index_found_too_few(kind):
    # all but 5 items excluded: no graph or list leads there by itself
    vectors = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    index = ItemIndex.build(vectors, IndexConfig(kind, lists=40, probes=1, ef_search=1))
    exclude = JaggedArray(np.arange(5, 2000), np.array([0, 1995]))
    _, rows = index.search(vectors[:1], 10, exclude)
    assert sorted(rows[0].tolist()) == [-1] * 5 + [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mmap", [False, True])
def test_saved_and_loaded_it_answers_the_same(tmp_path, kind, mmap):
    random = np.random.default_rng(5)
    vectors = random.standard_normal((1000, 12)).astype(np.float32)
    queries = random.standard_normal((7, 12)).astype(np.float32)
    index = ItemIndex.build(vectors, IndexConfig(kind, probes=3), queries)
    index.save(tmp_path / "items.faiss")
    loaded = ItemIndex.load(tmp_path / "items.faiss", mmap=mmap)
    for before, after in zip(index.search(queries, 30), loaded.search(queries, 30), strict=True):
        np.testing.assert_array_equal(before, after)
    assert (loaded.config, loaded.recall, loaded.max_norm) == (index.config, index.recall, index.max_norm)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.faiss", "items.faiss.json"]


@pytest.mark.parametrize("mmap", [False, True])
def test_a_cut_file_is_refused_by_name(tmp_path, mmap):
    ItemIndex.build(np.ones((100, 8), np.float32)).save(tmp_path / "items.faiss")
    data = (tmp_path / "items.faiss").read_bytes()
    (tmp_path / "items.faiss").write_bytes(data[:-64])
    with pytest.raises(InputError, match=r"items\.faiss"):
        ItemIndex.load(tmp_path / "items.faiss", mmap=mmap)
    with pytest.raises(InputError, match=r"absent\.faiss"):
        ItemIndex.load(tmp_path / "absent.faiss")


def test_bad_input_is_one_sentence():
    vectors = np.ones((4, 3), np.float32)
    index = ItemIndex.build(vectors)
    broken = vectors.copy()
    broken[2, 1] = np.nan
    for attempt, words in (
        (lambda: ItemIndex.build(broken), "item vectors hold a number that is not finite, first in row 2"),
        (lambda: index.search(broken, 2), "query vectors"),
        (lambda: index.search(vectors[:, :2], 2), "(4, 2)"),
        (lambda: index.search(vectors[0], 2), "shape"),
        (lambda: index.search(vectors, -1), "k is 0 or more"),
        (lambda: index.search(vectors[:1], 1, JaggedArray(np.array([4]), np.array([0, 1]))), "between 0 and 3"),
        (lambda: index.search(vectors[:2], 1, JaggedArray(np.array([1]), np.array([0, 1]))), "1 rows"),
        (lambda: ItemIndex.build(vectors[:0]), "at least one"),
        (lambda: IndexConfig("fast"), "'fast'"),
        (lambda: IndexConfig(probes=0), "index.probes"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            attempt()


def test_many_threads_search_at_once():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2000, 16)).astype(np.float32)
    queries = random.standard_normal((40, 16)).astype(np.float32)
    index = ItemIndex.build(vectors)
    expected = index.search(queries, 10)[1]
    wrong = []

    def ask(n):
        for _ in range(20):
            if (index.search(queries[n : n + 1], 10)[1][0] != expected[n]).any():
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_item_that_is_excluded_many_times_is_excluded_once() -> None:
    """A history may hold an item a thousand times; all others are still found, whatever lists are read at first."""
    vectors = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    index = ItemIndex.build(vectors, IndexConfig(kind="ivf", probes=1))
    often = JaggedArray(np.full(1500, 7), np.array([0, 1500]))
    rows = index.search(vectors[:1], 1000, often)[1][0]
    assert (rows >= 0).all() and 7 not in rows
