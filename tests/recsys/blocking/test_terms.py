"""Terms and nearest records against slow loops."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from recsys.blocking import nearest, terms
from recsys.blocking.nearest import TermIndex
from recsys.blocking.terms import TermsConfig, TermSpace, paired, texts_of

TEXTS = st.lists(st.text("ab cé雪", max_size=12), min_size=1, max_size=8)


def slow(texts: list[list[str]], size: int) -> list[np.ndarray]:
    """TF-IDF of character n-grams, a dictionary at a time."""

    def grams(text: str) -> list[str]:
        around = " " if size > 1 else ""
        text = f"{around}{text}{around}"
        return [text[n : n + size] for n in range(len(text) - size + 1)]

    flat = [text for table in texts for text in table]
    known = sorted({one for text in flat for one in grams(text)})
    holders = {one: sum(one in grams(text) for text in flat) for one in known}
    found = []
    for table in texts:
        rows = np.zeros((len(table), len(known)))
        for row, text in enumerate(table):
            for n, one in enumerate(known):
                worth = np.log((len(flat) + 1) / holders[one])
                rows[row, n] = np.log1p(grams(text).count(one)) * worth
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        found.append(rows / np.where(lengths > 1e-9, lengths, 1))
    return found


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 3))
def test_vectors_are_those_of_a_slow_loop(one: list[str], other: list[str], size: int) -> None:
    tables = [pl.Series(some, dtype=pl.String) for some in (one, other)]
    space = TermSpace(TermsConfig("characters", size), *tables)
    left, right = (space.vectors(some) for some in tables)
    expected = slow([one, other], size)
    np.testing.assert_allclose((left @ right.T).toarray(), expected[0] @ expected[1].T, atol=1e-5)


def test_words_are_runs_of_letters_and_digits() -> None:
    texts = pl.Series(["rose-soap 100g", "soap", "Ärger, soap"])
    space = TermSpace(TermsConfig("words"), texts)
    assert len(space) == 4  # rose, soap, 100g, Ärger
    assert (space.vectors(texts) @ space.vectors(texts).T).toarray()[1, 1] > 0.999


def test_terms_of_other_texts_are_left_out() -> None:
    space = TermSpace(TermsConfig(), pl.Series(["rose soap", "ink"]))
    assert space.vectors(pl.Series(["zzz", ""])).nnz == 0


def test_texts_are_plain() -> None:
    table = pl.DataFrame({"a": ["ÉCLAIR\u00a0 x", ""], "b": ["ﬁn", "B"]})
    assert texts_of(table).to_list() == ["eclair x fin", "b"] and texts_of(table, ["b"]).to_list() == ["fin", "b"]


@settings(max_examples=40, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 6), st.booleans())
def test_nearest_are_those_of_the_whole_product(one: list[str], other: list[str], k: int, itself: bool) -> None:
    tables = [pl.Series(some, dtype=pl.String) for some in (one, one if not itself else other)]
    space = TermSpace(TermsConfig(), *tables)
    left, right = (space.vectors(some) for some in tables)
    found = TermIndex(right).nearest(left, k, itself=itself)
    product = (left @ right.T).toarray()
    if not itself:
        np.fill_diagonal(product, 0)
    for row, scores in enumerate(product):
        expected = np.sort(scores[scores > 0])[::-1][:k]
        there = found.rows[row] >= 0
        np.testing.assert_allclose(found.scores[row, there], expected, atol=1e-5)
        np.testing.assert_allclose(product[row, found.rows[row, there]], expected, atol=1e-5)


def test_few_look_ups_find_what_is_rare() -> None:
    random = np.random.default_rng(0)
    codes = [f"{n:05d}" for n in range(400)]
    texts = pl.Series([f"a very common beginning {random.choice(list('xyz'))} {one}" for one in codes])
    space = TermSpace(TermsConfig("words"), texts)
    found = TermIndex(space.vectors(texts), lookups=5).nearest(space.vectors(texts), 1)
    assert (found.rows[:, 0] == np.arange(400)).all()


def test_pairs_are_inner_products() -> None:
    texts = pl.Series(["rose soap", "soap", "ink"])
    vectors = TermSpace(TermsConfig(), texts).vectors(texts)
    rows = np.array([0, 0, 2]), np.array([1, 2, 2])
    np.testing.assert_allclose(paired(vectors, vectors, rows), (vectors @ vectors.T).toarray()[rows], atol=1e-6)


def test_settings_are_named() -> None:
    with pytest.raises(InputError, match="'characters' or 'words', not 'letters'"):
        TermsConfig("letters")
    with pytest.raises(InputError, match="1 to 3 characters, got size 4"):
        TermsConfig(size=4)


def test_a_little_at_a_time_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is held at a time; a text that is longer than that is held alone."""
    random = np.random.default_rng(0)
    texts = pl.Series(["".join(random.choice(list("abcde "), random.integers(0, 30))) for _ in range(60)])
    rows = random.integers(60, size=(2, 200))

    def found() -> list[np.ndarray]:
        space = TermSpace(TermsConfig(), texts)
        vectors = space.vectors(texts)
        near = TermIndex(vectors, lookups=40).nearest(vectors, 5, itself=False)
        return [vectors.toarray(), paired(vectors, vectors, tuple(rows)), near.rows, near.scores]

    whole = found()
    for module, name in ((terms, "_HELD"), (terms, "_CHARACTERS"), (nearest, "_HELD"), (nearest, "_SORTED")):
        monkeypatch.setattr(module, name, 20)
    for one, other in zip(whole, found(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert TermSpace(TermsConfig(), texts).vectors(texts.head(0)).shape[0] == 0
