"""What records share and lack: numbers worked by hand, and what holds for any text."""

import math

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
    return dict(zip(overlap.names, overlap.numbers([(left, right)])[0].tolist(), strict=True))


def test_words_are_worth_what_records_say(overlap: Overlap) -> None:
    assert overlap.worth[1] == pytest.approx({"sony": math.log(5 / 2), "tv": math.log(5 / 3)})
    assert overlap.unknown == pytest.approx([math.log(5)] * 3)
    assert set(overlap.worth[0]) == {"sony", "tv"} and overlap.worth[2] == {}


def test_numbers_are_those_worked_by_hand(overlap: Overlap) -> None:
    found = named(overlap, record("Sony TV KDL-40", "100"), record("TV kdl40, black", "50"))
    tv, rare = math.log(5 / 3), math.log(5)
    assert found["title: words"] == pytest.approx(1 / 5)
    assert found["title: words of the smaller"] == pytest.approx(1 / 3)
    assert found["title: codes"] == 1  # kdl40 on both sides, however it is written
    assert found["title: numbers"] == 1
    assert found["title: worth of the smaller"] == pytest.approx(tv / (tv + math.log(5 / 2) + rare))
    # sony alone is lacking on the right, and black on the left: the code is there on both sides
    assert found["title: dearest only left"] == pytest.approx(math.log(5 / 2))
    assert found["title: dearest only right"] == found["title: worth only right"] == pytest.approx(rare)
    assert found["title: dearest of both"] == pytest.approx(tv)
    assert found["price: number"] == pytest.approx(math.log(2))
    assert found["price: words"] == 0 and found["all: equal"] == 0


def test_what_a_record_does_not_say_is_not_compared(overlap: Overlap) -> None:
    found = named(overlap, record("sony", ""), record("sony", "100"))
    assert all(math.isnan(one) for name, one in found.items() if name.startswith("price"))
    assert found["title: equal"] == 1 and found["title: worth"] == 1


def test_one_attribute_alone_is_all_that_is_told() -> None:
    alone = Overlap.of(["title"], [told(title=["tea"])])
    assert all(name.startswith("all: ") for name in alone.names)
    assert alone.numbers([]).shape == (0, len(alone.names))


def test_what_is_much_the_same_is_so_by_any_order_of_words(overlap: Overlap) -> None:
    one, other = (
        overlap.numbers([(record(text, ""), record("tv lamp x1 y2", ""))]) for text in ("a1 b2 c3", "c3 a1 b2")
    )
    same = [n for n, name in enumerate(overlap.names) if "trigrams" not in name and not name.endswith(": number")]
    np.testing.assert_array_equal(one[:, same], other[:, same])


texts = st.text(alphabet=st.sampled_from("abz 09.-/,$é😀中"), max_size=12).map(lambda one: " ".join(one.split()))


@settings(deadline=None)
@given(left=st.tuples(texts, texts), right=st.tuples(texts, texts))
def test_any_texts_are_compared_and_turned_round(left: tuple[str, str], right: tuple[str, str]) -> None:
    overlap = Overlap(["title", "price"], [{"a": 1.0, "0": 0.5}] * 3, [2.0] * 3)
    one, other = named(overlap, record(*left), record(*right)), named(overlap, record(*right), record(*left))
    for name, value in one.items():
        turned = name.replace("only left", "x").replace("only right", "only left").replace("x", "only right")
        assert other[turned] == pytest.approx(value, nan_ok=True)
        assert not math.isinf(value)
        if "only" not in name and "dearest" not in name and not name.endswith(": number"):
            assert math.isnan(value) or 0 <= value <= 1 + 1e-6
    itself = named(overlap, record(*left), record(*left))
    assert all(math.isnan(one) or one == 0 for name, one in itself.items() if "only" in name)
    assert all(math.isnan(one) or one == 1 for name, one in itself.items() if name.endswith((": words", ": equal")))
