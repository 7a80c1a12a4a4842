"""Explanations: exactly what is said less where something is left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.record_pairs import RecordPairs
from features.records import Records
from recsys.matching.ditto import DittoMatcher, log_odds
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.explain import MOST_WORDS, explain
from recsys.matching.pair_reader import PairReader
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder


@pytest.fixture
def made(written: Callable[[str], Path]) -> tuple[DittoMatcher, PairReader]:
    config = DittoConfig(TextEncoderConfig(str(written("bert")), pooling="cls", precision="fp32"), max_tokens=60)
    encoder = load_encoder(config.encoder)
    torch.manual_seed(0)
    matcher = DittoMatcher(config, encoder).eval()
    torch.nn.init.normal_(matcher.head.weight)
    return matcher, PairReader(config, ["title", "maker", "note"], encoder)


def records(*rows: tuple[str, str, str]) -> Records:
    table = pl.DataFrame(rows, schema=["title", "maker", "note"], orient="row").with_row_index("id")
    return Records.of("some", table, "id")


def said(made, left: tuple[str, str, str], right: tuple[str, str, str]) -> float:
    both = records(left, right)
    return float(log_odds(*made, RecordPairs(both, both, np.array([0]), np.array([1])))[0])


def test_a_words_share_is_what_is_said_less_without_it(made) -> None:
    matcher, reader = made
    left, right = ("rose soap", "Ada", ""), ("rose", "", "")
    both = reader.read(records(left, right).values)
    found = explain(matcher, reader, both.record(0), both.record(1))
    whole = said(made, left, right)
    assert found.log_odds == pytest.approx(whole, abs=1e-4)
    assert [one[:3] for one in found.words] == [
        ("left", "title", "rose"),
        ("left", "maker", "Ada"),
        ("right", "title", "rose"),
        ("left", "title", "soap"),
    ]
    shares = {one[:3]: one[3] for one in found.words}
    assert shares["left", "title", "soap"] == pytest.approx(whole - said(made, ("rose", "Ada", ""), right), abs=1e-4)
    assert shares["left", "maker", "Ada"] == pytest.approx(whole - said(made, ("rose soap", "", ""), right), abs=1e-4)
    assert list(found.attributes) == ["title", "maker"]
    frame = found.frame()
    assert frame.columns == ["side", "attribute", "word", "share"]
    assert frame["share"].abs().is_sorted(descending=True) and frame.height == 4


def test_an_attribute_is_left_out_on_both_sides(made) -> None:
    matcher, reader = made
    both = reader.read(records(("rose soap", "Ada", "x"), ("blue ink", "Bo", "")).values)
    left, right = both.record(0), both.record(1)
    found = explain(matcher, reader, left, right)
    fewer = explain(matcher, reader, [left[0], left[2]], [right[0], right[2]])
    assert found.attributes["maker"] == pytest.approx(found.log_odds - fewer.log_odds, abs=1e-4)


def test_nothing_to_say_is_explained_too(made, tmp_path: Path) -> None:
    matcher, reader = made
    empty = reader.read(records(("", "", "")).values).record(0)
    found = explain(matcher, reader, empty, empty)
    assert found.attributes == {} and found.words == [] and found.frame().height == 0
    found.draw(tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_of_many_words_some_are_asked_for_and_the_picture_is_drawn(made, tmp_path: Path) -> None:
    matcher, reader = made
    both = reader.read(
        records(("a rose soap ink blue " * 12, "Ada", ""), ("many words and more " * 20, "Bo", "x " * 20)).values
    )
    found = explain(matcher, reader, both.record(0), both.record(1))
    assert len(found.words) == MOST_WORDS
    assert {one[:3] for one in found.words} >= {("left", "maker", "Ada"), ("right", "note", "x")}
    found.draw(tmp_path / "many.png")
    assert (tmp_path / "many.png").read_bytes().startswith(b"\x89PNG")
