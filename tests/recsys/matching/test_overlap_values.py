"""What is told of an attribute, as sets: what is the same however it is written, and what is not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.matching.overlap_values import Value, canonical, words_of


def lacking(left: str, right: str) -> list[list[str]]:
    return [sorted(one) for one in Value.of(left).lacks(Value.of(right))]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Sony KDL-40", "sony kdl40"),
        ("kdl 40", "KDL-40"),
        ("kdl-40 b", "kdl40b"),
        ("x-1/2", "x12"),
        ("wi fi 6", "wifi 6"),
        ("power point", "powerpoint"),
        ("iphone 4 s", "iphone4s"),
        ("1,299.00", "1299"),
        ("12.50 usd", "usd 12.5"),
        ("007", "7"),
        ("5.0mp", "5 mp"),
        ("1,50l", "1.5 l"),
        ("310-246-1501", "310/246-1501"),
        ("310.246.1501", "310 246 1501"),
        ("978-3-16-148410-0", "9783161484100"),
        ("1,2,3", "1 2 3"),
    ],
)
def test_a_word_written_otherwise_is_not_lacking(left: str, right: str) -> None:
    assert lacking(left, right) == lacking(right, left) == [[], []]


@pytest.mark.parametrize(
    ("left", "right", "alone"),
    [
        ("iphone 4", "iphone 14 gold", [["4"], ["14", "gold"]]),
        ("sony 16 x", "sony 2160 x", [["16"], ["2160"]]),
        ("art lamp", "smart lamp", [["art"], ["smart"]]),
        ("kdl-40", "kdl-401", [["kdl-40"], ["kdl-401"]]),
        ("tea", "", [["tea"], []]),
        ("2.5 inch", "25 inch", [["2.5"], ["25"]]),
        ("2.5inch", "25inch", [["2.5inch"], ["25inch"]]),
        ("12.99", "1299", [["12.99"], ["1299"]]),
        ("3/4 in", "34 in", [["3/4"], ["34"]]),
        ("v1.2", "v12", [["v1.2"], ["v12"]]),
        ("v1.10", "v1.1", [["v1.10"], ["v1.1"]]),
        ("60 4", "604", [["4", "60"], ["604"]]),
        ("lot 2 5g", "lot 25g", [["2", "5g"], ["25g"]]),
        ("1234567.8", "12345678", [["1234567.8"], ["12345678"]]),
        ("2.5a-3", "25a-3", [["2.5a-3"], ["25a-3"]]),
    ],
)
def test_a_part_of_a_word_is_not_the_word(left: str, right: str, alone: list[list[str]]) -> None:
    assert lacking(left, right) == alone
    assert lacking(right, left) == alone[::-1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("1,299.00", "1299"), ("1.299,50", "1299.5"), ("1,50", "1.5"), ("12.50", "12.5"), ("007", "7")),
        *(("1,234,567", "1234567"), ("1.234.567", "1234567"), ("0.5", "0,5")),
    ],
)
def test_numbers_are_the_same_however_they_are_written(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
    assert Value.of(f"${one} msrp").number == pytest.approx(float(other.replace(",", ".")))


def test_what_is_no_number_is_left_alone() -> None:
    assert canonical("10.0.4") == "10.0.4" and canonical("1,2,3") == "1,2,3" and canonical("1.299") == "1.299"
    version = Value.of("office 10.0.4")
    assert version.number is None and version.numbers == {"10.0.4"}
    assert Value.of("9" * 400).number is None  # more digits than a float has


@given(st.integers(0, 10**12), st.integers(0, 99))
def test_any_number_is_found_among_its_ways_of_writing(whole: int, cents: int) -> None:
    written = {f"{whole}.{cents:02}", f"{whole:,}.{cents:02}", f"{whole},{cents:02}"}
    if whole >= 1000:
        written.add(f"{whole:,}".replace(",", ".") + f",{cents:02}")
    assert len({canonical(one) for one in written}) == 1


def test_marks_belong_to_their_letters() -> None:
    composed = "Crème brûlée"
    assert words_of(unicodedata.normalize("NFD", composed)) == words_of(composed) == ["crème", "brûlée"]
    assert words_of("हिन्दी चाय") == ["हिन्दी", "चाय"]
    assert words_of("ＫＤＬ－４０") == ["kdl-40"] and words_of("Straße") == words_of("STRASSE")


def test_a_page_is_cut() -> None:
    assert len(Value.of("a," * 100_000).order) == 2048


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_texts_are_read(left: str, right: str) -> None:
    one, other = Value.of(left), Value.of(right)
    mine, yours = one.lacks(other)
    assert mine <= one.words - other.words and yours <= other.words - one.words
    assert one.lacks(one) == (frozenset(), frozenset())
    assert one.spelled >= one.codes and sum(map(len, one.spelled)) <= len(one.texts[0])
    both = Value.whole([one, other])
    assert both.words == one.words | other.words and both.length == one.length + other.length
