"""What a bundle must do before it takes another one's place, measured and not believed."""

import dataclasses

import numpy as np
import pytest

from features.schema import Categorical, FeatureSchema, Numeric
from recsys.index import IndexConfig, ItemIndex
from serving.bundles.bundle import Bundle
from serving.candidates import CandidateGenerator
from serving.checks import _queries, index_recall, signature_changes


def with_index(bundle, index):
    return CandidateGenerator(dataclasses.replace(bundle, index=index))


def test_an_exact_index_finds_everything(any_generator, integer_generator):
    assert index_recall(any_generator) == index_recall(integer_generator, k=7) == 1.0


def test_what_an_approximate_index_misses_is_counted(generator):
    """Against every inner product, one at a time."""
    index = ItemIndex.build(np.array(generator.bundle.index.stored(0)), IndexConfig("hnsw", neighbours=2, ef_search=1))
    index.recall = 1.0  # what it claims
    cut = with_index(generator.bundle, index)
    queries, k = _queries(cut, 256), 10
    hits = 0
    for query in queries:
        scores = index.stored(0) @ query
        hits += len(np.intersect1d(np.argsort(-scores, kind="stable")[:k], index.search(query[None], k)[1][0]))
    assert index_recall(cut, k) == pytest.approx(hits / (k * len(queries)))


def test_an_index_that_was_cut_is_found_out(generator, monkeypatch):
    bundle = generator.bundle
    index = ItemIndex.build(np.array(bundle.index.stored(0)))
    whole = index.search
    # as if half of the catalogue could not be reached
    odd = lambda queries, k: tuple(  # noqa: E731
        np.where(whole(queries, k)[1] % 2, one, nothing)
        for one, nothing in zip(whole(queries, k), (-np.inf, -1), strict=True)
    )
    monkeypatch.setattr(index, "search", odd)
    assert 0.2 < index_recall(with_index(bundle, index), 20) < 0.8


def test_which_of_equal_items_is_found_does_not_matter(generator):
    vectors = np.repeat(np.array(generator.bundle.index.stored(0, 6)), 10, axis=0)  # ten of each
    cut = with_index(generator.bundle, ItemIndex.build(vectors, IndexConfig("hnsw")))
    assert index_recall(cut, 15) == 1.0


def test_a_bundle_takes_its_own_requests(any_generator):
    assert signature_changes(any_generator.bundle, any_generator.bundle) == []


def test_every_change_that_would_refuse_requests_is_named(generators, integer_generator):
    two_tower, sequential = (generators[one].bundle for one in ("two-tower", "sequential"))
    assert signature_changes(two_tower, sequential) == ["its kind is 'sequential', and was 'retriever'"]
    found = signature_changes(two_tower, integer_generator.bundle)
    assert found == [
        "the ids 'user_id' are integers, and were strings",
        "the ids 'item_id' are integers, and were strings",
    ]


def test_attributes_that_are_gone_or_of_another_kind_are_named(generator):
    bundle = generator.bundle

    def declaring(*features):
        kept = [one for one in bundle.schema.user if one.name not in ("city", "age")]
        return dataclasses.replace(bundle, schema=FeatureSchema((*kept, *features), bundle.schema.item))

    without = declaring(Categorical("city"))
    assert signature_changes(bundle, without) == ["it takes no attribute 'age' of users any more"]
    assert signature_changes(without, bundle) == []  # what is taken besides is no change
    other = declaring(Numeric("city"), Numeric("age"))
    assert signature_changes(bundle, other) == [
        "the attribute 'city' of users is numeric, and was categorical of strings"
    ]


def test_what_only_the_old_one_reads_is_named(sequential):
    bundle: Bundle = sequential.bundle
    richer = dataclasses.replace(bundle, ranker=object(), interests=object())
    assert signature_changes(richer, bundle) == [
        "it has no ranker to re-rank with any more",
        "it has no interests to ask for any more",
    ]
    assert signature_changes(bundle, richer) == []
