"""What records share and lack: numbers worked by hand, and what holds for any text."""

import math
import re
import tracemalloc

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.matching.overlap import Overlap
from recsys.matching.words import Told, ToldRecords, Word


def record(*values: str) -> Told:
    return [(place, [Word(text, (0,)) for text in value.split(" ") if text]) for place, value in enumerate(values)]


def told(**columns: list[str]) -> ToldRecords:
    return ToldRecords.of(pl.DataFrame(columns), lambda words: [(0,)] * len(words), 256)


@pytest.fixture
def overlap() -> Overlap:
    """Of four records: "sony" is in two of them, "tv" in three."""
    table = told(title=["sony tv", "sony tv kdl-40", "lg tv", "lamp"], price=["100", "250.5", "", "20"])
    return Overlap.of(["title", "price"], [table])


def named(overlap: Overlap, left: Told, right: Told) -> dict[str, float]:
    return dict(zip(overlap.names, overlap.comparison_vectors([(left, right)])[0].tolist(), strict=True))


def test_words_say_as_much_as_they_are_rare(overlap: Overlap) -> None:
    assert overlap.idf[1] == pytest.approx({"sony": math.log(5 / 2), "tv": math.log(5 / 3)})
    assert overlap.unknown == pytest.approx([math.log(5)] * 3)
    assert set(overlap.idf[0]) == {"sony", "tv"} and overlap.idf[2] == {}


def test_numbers_are_those_worked_by_hand(overlap: Overlap) -> None:
    found = named(overlap, record("Sony TV KDL-40", "100"), record("TV kdl40, black", "50"))
    tv, rare = math.log(5 / 3), math.log(5)
    assert found["title: words jaccard"] == pytest.approx(1 / 5)
    assert found["title: words overlap"] == pytest.approx(1 / 3)
    assert found["title: codes jaccard"] == 1  # kdl40 on both sides, however it is written
    assert found["title: numbers jaccard"] == 1
    assert found["title: idf overlap"] == pytest.approx(tv / (tv + math.log(5 / 2) + rare))
    # sony alone is lacking on the right, and black on the left: the code is there on both sides
    assert found["title: max idf only left"] == pytest.approx(math.log(5 / 2))
    assert found["title: max idf only right"] == found["title: idf only right"] == pytest.approx(rare)
    assert found["title: max idf shared"] == pytest.approx(tv)
    assert found["price: number"] == pytest.approx(math.log(2))
    assert found["price: words jaccard"] == 0 and found["equal"] == 0


def test_what_a_record_does_not_say_is_not_compared(overlap: Overlap) -> None:
    found = named(overlap, record("sony", ""), record("sony", "100"))
    assert all(math.isnan(one) for name, one in found.items() if name.startswith("price"))
    assert found["title: equal"] == 1 and found["title: idf jaccard"] == 1


def test_one_attribute_alone_is_all_that_is_told() -> None:
    alone = Overlap.of(["title"], [told(title=["tea"])])
    assert not any(":" in name for name in alone.names) and len(alone.idf) == 1
    assert alone.comparison_vectors([]).shape == (0, len(alone.names))


def test_what_is_much_the_same_is_so_by_any_order_of_words(overlap: Overlap) -> None:
    one, other = (
        overlap.comparison_vectors([(record(text, ""), record("tv lamp x1 y2", ""))])
        for text in ("a1 b2 c3", "c3 a1 b2")
    )
    same = [n for n, name in enumerate(overlap.names) if not re.search(r"trigrams|number$", name)]
    np.testing.assert_array_equal(one[:, same], other[:, same])


texts = st.text(alphabet=st.sampled_from("abz 09.-/,$é😀中"), max_size=12).map(lambda one: " ".join(one.split()))


@settings(deadline=None)
@given(left=st.tuples(texts, texts), right=st.tuples(texts, texts))
def test_any_texts_are_compared_and_turned_round(left: tuple[str, str], right: tuple[str, str]) -> None:
    overlap = Overlap(["title", "price"], [{"a": 1.0, "0": 0.5}] * 3, [2.0] * 3)
    one, other = named(overlap, record(*left), record(*right)), named(overlap, record(*right), record(*left))
    for name, value in one.items():
        turned = name.replace("only left", "~").replace("only right", "only left").replace("~", "only right")
        assert other[turned] == pytest.approx(value, nan_ok=True)
        assert not math.isinf(value)
        assert math.isnan(value) or value >= 0
        if not re.search(r"only|max|number$", name):
            assert math.isnan(value) or 0 <= value <= 1 + 1e-6
    np.testing.assert_array_equal(np.array(list(one.values()))[overlap.turned], list(other.values()))
    itself = named(overlap, record(*left), record(*left))
    assert all(math.isnan(one) or one == 0 for name, one in itself.items() if "only" in name)
    assert all(math.isnan(one) or one == 1 for name, one in itself.items() if name.endswith(("words jaccard", "equal")))


def test_a_word_of_two_tables_counts_in_both_and_order_is_that_of_words() -> None:
    tables = [told(title=["tea b", "tea"]), told(title=["tea a", "a b"])]
    found = Overlap.of(["title"], tables)
    assert found.idf[0] == pytest.approx({"a": math.log(5 / 2), "b": math.log(5 / 2), "tea": math.log(5 / 3)})
    assert list(found.idf[0]) == ["a", "b", "tea"]  # a file of it is the same in every process


def test_memory_does_not_grow_with_the_records(overlap: Overlap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.matching.overlap._KEPT", 10_000)
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{one}" for one in random.integers(0, 10**6, 40)) for _ in range(400)]
    pairs = [(record(one, "1"), record(other, "1")) for one, other in zip(texts[::2], texts[1::2], strict=True)]

    def peak(n: int) -> int:
        tracemalloc.start()
        overlap.comparison_vectors(pairs[:n])
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)  # what is made once
    assert peak(200) < 1.5 * peak(50)
