"""Values rewritten by what is known of their spans."""

import polars as pl
import pytest

from features.errors import InputError
from recsys.matching.knowledge import Knowledge, KnowledgeConfig
from recsys.matching.recognisers import RECOGNISERS, Span


def test_spans_are_marked_and_written_in_one_way() -> None:
    knowledge = Knowledge(KnowledgeConfig(("date", "price", "unit", "code", "number")))
    assert knowledge.told("HP 36.4-GB (BF-036863B5) of 21-Oct-14, $ 1,299.00, 2 left") == (
        "HP unit 36.4 gb (code bf036863b5) of date 2014-10-21, price 1299, number 2 left"
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mark": False}, "disk 36.4 gb"),
        ({"normalise": False}, "disk unit 36.4-GB"),
        ({"mark": False, "normalise": False}, "disk 36.4-GB"),
    ],
)
def test_marks_and_spelling_are_asked_for_apart(settings: dict, told: str) -> None:
    assert Knowledge(KnowledgeConfig(("unit",), **settings)).told("disk 36.4-GB") == told


def test_the_first_that_claims_a_character_has_it() -> None:
    text = "$ 36.4 gb"
    assert Knowledge(KnowledgeConfig(("price", "unit"))).told(text) == "price 36.4 gb"
    assert Knowledge(KnowledgeConfig(("unit", "price"))).told(text) == "$ unit 36.4 gb"


def test_nothing_is_glued_together() -> None:
    assert Knowledge(KnowledgeConfig(("price",))).told("for5$each") == "for5$each"
    assert Knowledge(KnowledgeConfig(("unit",))).told('size:17"wide') == 'size:17"wide'
    assert Knowledge(KnowledgeConfig(("price",))).told("now:$5.") == "now: price 5."


def test_a_table_is_rewritten_value_by_value() -> None:
    values = pl.DataFrame({"title": ["disk 5gb", "", "disk 5gb"], "note": ["x", "7 in", ""]})
    told = Knowledge(KnowledgeConfig(("unit",))).all_told(values)
    assert told.rows() == [("disk unit 5 gb", "x"), ("", "unit 7 inch"), ("disk unit 5 gb", "")]
    assert Knowledge(KnowledgeConfig()).all_told(values).equals(values)


def test_a_recogniser_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        RECOGNISERS, "colour", lambda text: iter([Span(0, 3, "colour", "red")] if text[:3] == "rot" else [])
    )
    assert Knowledge(KnowledgeConfig(("colour",))).told("rot und rund") == "colour red und rund"


@pytest.mark.parametrize(
    ("names", "message"),
    [(("colour",), "names 'colour', and there are phone, date"), (("unit", "unit"), "names 'unit' twice")],
)
def test_what_cannot_be_is_told(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        KnowledgeConfig(names)
