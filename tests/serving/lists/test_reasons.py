"""What of a history is most like an item, against comparing one with the other."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from features.vocabulary import Vocabulary
from recsys.index import ItemIndex
from serving.lists.raw_ids import RawIds
from serving.lists.reasons import MOST_CHARACTERS, most_like, named, reasons, short
from serving.lists.recommendations import Interest, Recommendations
from serving.lists.shelf import Placed, Shelf


def shelf_of(vectors, width=None) -> Shelf:
    vectors = np.asarray(vectors, np.float32)
    ids = Vocabulary.fit("item_id", pl.Series([f"i{n:03d}" for n in range(len(vectors))]))
    titles = pl.Series("title", [f"Title {n}" for n in range(len(vectors))])
    return Shelf(ItemIndex.build(vectors), RawIds(ids), width or vectors.shape[1], titles)


def slowly(shelf, row, met):
    """The latest of the most like, and how much it is; pairs of vectors are compared one after the other."""
    best = (-1, math.nan)
    for other in met:
        one, two = (shelf.vectors_of(np.array([n]))[0, : shelf.width].tolist() for n in (row, other))
        if row < 0 or not any(one) or not any(two):
            continue
        cosine = math.fsum(a * b for a, b in zip(one, two, strict=True)) / (math.hypot(*one) * math.hypot(*two))
        if best[0] < 0 or round(cosine, 9) >= round(best[1], 9):
            best = (other, cosine)
    return best


def test_most_like_is_what_comparing_all_of_them_gives():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((40, 5))
    vectors[3], vectors[7], vectors[11] = 0, vectors[8], 3 * vectors[8]  # points nowhere; three that point alike
    vectors[:, 4] *= 100  # a bias says nothing of likeness
    shelf = shelf_of(vectors, width=4).with_new({"new": Placed(vectors[20].astype(np.float32), "New")})
    for length in (0, 1, 6, 60):
        met = random.integers(0, 41, length)
        rows = np.arange(-1, 41)
        found, cosines = most_like(shelf, rows, met)
        for row, like, cosine in zip(rows.tolist(), found.tolist(), cosines.tolist(), strict=True):
            other, expected = slowly(shelf, row, met.tolist())
            if other < 0:
                assert like == -1 and math.isnan(cosine)
            else:
                assert cosine == pytest.approx(expected, abs=1e-6)
                assert like == other or shelf.vectors_of(np.array([like])) == pytest.approx(
                    shelf.vectors_of(np.array([other]))
                )


def test_of_equals_it_is_the_latest():
    shelf = shelf_of([[1, 0], [2, 0], [4, 0], [0, 1]])
    for met in ([1, 2, 3], [2, 1, 3], [1, 2, 1]):
        assert most_like(shelf, np.array([0]), np.array(met))[0].tolist() == [[one for one in met if one < 3][-1]]


def test_each_kind_of_reason_has_a_sentence():
    shelf = shelf_of([[1, 0], [1, 1], [0, 1], [0, 0]])
    ids = shelf.ids_of(np.arange(4))

    def told(source="user", met=(), **more):
        found = Recommendations(["u"], [ids], [[3.0, 1.0, 1234.0, 0.0]], [source], [0], **more)
        return reasons(shelf, found, np.array(met, np.int64))

    popular = [one.sentence for one in told("popularity", [2])]
    assert popular[:3] == [f"Popular: training saw it {times}." for times in ("3 times", "once", "1,234 times")]
    by_history = told(met=[2, 1])
    assert [one.kind for one in by_history] == ["history", "seen", "seen", "user"]
    assert by_history[0].sentence == "Of the history, “Title 1” is most like it (cosine 0.71)."
    assert by_history[0].item.item_id == "i001" and by_history[0].cosine == pytest.approx(math.sqrt(0.5))
    assert {one.kind for one in told()} == {"user"}
    mixed = [Interest(0.5, "i002", True), Interest(0.25, "i001", False), Interest(0.2, None, False)]
    by_interest = told(met=[2], interests=[mixed], interest_of=[[2, 0, 1, 0]])
    assert [one.interest for one in by_interest] == [2, 0, 1, 0]
    assert [one.sentence for one in by_interest[:3]] == [
        "Brought by interest 3, 20% of this user.",
        "Brought by the interest around “Title 2”, 50% of this user.",
        "Brought by similar users' interest around “Title 1”, 25% of this user.",
    ]


def test_titles_of_a_page_are_cut_and_ids_stand_for_none():
    assert short("x" * 300) == "x" * 300 and len(short("x" * 301)) == MOST_CHARACTERS and short(None) is None
    bare = Shelf(ItemIndex.build(np.eye(2, dtype=np.float32)), RawIds(Vocabulary.fit("item_id", pl.Series([5, 6]))), 2)
    assert [(one.item_id, one.title, str(one)) for one in named(bare, np.array([1]))] == [("6", None, "“6”")]
