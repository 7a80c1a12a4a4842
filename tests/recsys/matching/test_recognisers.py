"""What each rule finds in a value, and how it is written; and that no text is too strange or too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.matching.recognisers import RECOGNISERS

FOUND = {
    "number": {
        "professional 9.0 and 2007": ["9", "2007"],
        "1,299.00 or .5 or 1,2": ["1299", "0.5"],
        "mp3 a-7 10/100": [],
    },
    "price": {
        "$ 1.29": ["1.29"],
        "usd 1,299.00": ["1299"],
        "10 dollars, 5.50€": ["10", "5.5"],
        "£3 $4": ["3", "4"],
        "1.29": [],
    },
    "unit": {
        "36.4-GB, 500gb and 2 gigabytes": ["36.4 gb", "500 gb", "2 gb"],
        '17" and 24 inch': ["17 inch", "24 inch"],
        "40x optical, 5 %": ["40 x", "5 %"],
        "a24gb, 24 games": [],
    },
    "date": {
        "21-Oct-14": ["2014-10-21"],
        "October 21 , 2014": ["2014-10-21"],
        "3 sept 1999 / 1999-09-03": ["1999-09-03", "1999-09-03"],
        "21-Oct-87": ["1987-10-21"],
        "2014-13-40, may 5": [],
    },
    "phone": {
        "310/246-1501": ["310-246-1501"],
        "(310) 246 1501 or +1-310-246-1501": ["310-246-1501", "310-246-1501"],
        "12310/246-15012": [],
    },
    "code": {
        "panasonic KX-TG1032S (9H.LF4LB.DBE)": ["kxtg1032s", "9hlf4lbdbe"],
        "am53bk lds4821ww": ["am53bk", "lds4821ww"],
        "mp3 500gb 12345 dvd-rom 10/100": [],
    },
    "street_number": {
        "435 s. la cienega blv.": ["435"],
        "12B Main Street, 7 fjell bryggeri": ["12b"],
        "main street 12": [],
    },
    "name": {
        "by Sam Martin and M. J. Blige": ["Sam Martin", "M. J. Blige"],
        "sam martin": [],
        "Sam": [],
    },
}


@pytest.mark.parametrize(
    ("name", "text", "written"),
    [(name, text, written) for name, cases in FOUND.items() for text, written in cases.items()],
)
def test_what_is_found_is_written_in_one_way(name: str, text: str, written: list[str]) -> None:
    spans = list(RECOGNISERS[name](text))
    assert [span.text for span in spans] == written
    assert {span.kind for span in spans} <= {name}


def test_every_rule_has_its_cases() -> None:
    assert set(FOUND) == set(RECOGNISERS)


@pytest.mark.parametrize("name", RECOGNISERS)
@given(text=st.text(max_size=80))
def test_spans_lie_in_the_text_in_order_and_apart(name: str, text: str) -> None:
    end = 0
    for span in RECOGNISERS[name](text):
        assert end <= span.start < span.end <= len(text) and span.text
        end = span.end


@pytest.mark.parametrize("name", RECOGNISERS)
@pytest.mark.parametrize("part", ["a.", "1,", "12 ", "A ", "ab12-", "$", "jan ", "1 a "])
def test_a_long_value_is_read_to_its_end(name: str, part: str) -> None:
    """A rule that went back and forth would not come back from one of these."""
    some, many = (len(list(RECOGNISERS[name](part * n))) for n in (10, 10_000))
    assert many >= some


def test_long_runs_of_hyphens_are_read_once() -> None:
    for text in ("A-" * 10_000, "A'" * 10_000, "Ab " * 6_000, "1," * 10_000, "a.b-" * 5_000):
        for name, found in RECOGNISERS.items():
            assert len(list(found(text))) <= len(text), name
