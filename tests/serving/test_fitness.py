"""What keeps another version from taking over."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np

from recsys.index import ItemIndex
from recsys.index_kinds import IndexConfig
from serving.bundles.bundle import Bundle
from serving.candidates import CandidateGenerator
from serving.fitness import fitness
from serving.golden import GOLDEN, write_golden
from serving.resolve import Resolved


def test_the_same_again_is_fit(any_generator):
    assert fitness(any_generator, any_generator, least_recall=1.0) == []


def test_requests_that_would_be_refused_are_told(generator, integer_generator):
    wrong = fitness(generator, integer_generator, least_recall=0.9)
    assert "the ids 'user_id' are integers, and were strings" in wrong


def test_an_index_that_finds_too_little_is_told_whatever_it_claims(generator, monkeypatch):
    bundle = generator.bundle
    index = ItemIndex.build(np.array(bundle.index.stored(0)), IndexConfig("hnsw"))
    cut = CandidateGenerator(dataclasses.replace(bundle, index=index), generator.resolved)
    whole = index.search

    def half(queries, k):
        """As if every other item could not be reached."""
        scores, rows = whole(queries, k)
        return np.where(rows % 2, scores, -np.inf), np.where(rows % 2, rows, -1)

    assert fitness(generator, cut, least_recall=0.9) == []
    monkeypatch.setattr(index, "search", half)
    assert index.recall == 1.0
    *others, wrong = fitness(generator, cut, least_recall=0.9)
    assert all(one.startswith("golden request") for one in others)
    assert wrong.startswith("its index finds 0.") and wrong.endswith("and 0.9 is asked")
    assert fitness(generator, cut, least_recall=0.0) == others


def test_a_machine_that_computes_something_else_is_told(generator, string_folder, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(string_folder, folder)
    write_golden(folder)
    new = CandidateGenerator(Bundle.load(folder), Resolved(folder, "tiny"))
    assert fitness(generator, new, least_recall=0.9) == []
    told = json.loads((folder / GOLDEN).read_text())
    told["asked"][0]["answer"]["scores"][0][0] += 1.0
    (folder / GOLDEN).write_text(json.dumps(told))
    [wrong] = fitness(generator, new, least_recall=0.9)
    assert wrong.startswith("golden request 0, user 0: place 1 is")
