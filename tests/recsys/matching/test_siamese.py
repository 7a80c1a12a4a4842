"""Records that are read apart: each once, and the same as when pairs are judged one by one."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from recsys.matching.ditto import DittoMatcher, log_odds, log_odds_of
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.explain import explain
from recsys.matching.pair_reader import PairReader
from recsys.matching.siamese import SiameseMatcher, make_matcher
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder


@pytest.fixture(scope="module")
def made(colour_model: Path) -> tuple[SiameseMatcher, PairReader]:
    config = DittoConfig(TextEncoderConfig(str(colour_model), pooling="mean", precision="fp32"), reads="apart")
    torch.manual_seed(0)
    encoder = load_encoder(config.encoder)
    matcher = make_matcher(config, encoder).eval()
    with torch.no_grad():
        matcher.head.weight.mul_(50)
    return matcher, PairReader(config, ["name", "maker"], encoder)


def test_the_head_sees_both_vectors_their_distance_and_their_product(made) -> None:
    matcher, reader = made
    assert isinstance(matcher, SiameseMatcher) and matcher.head.in_features == 4 * 32
    assert type(make_matcher(DittoConfig(), matcher.encoder)) is DittoMatcher
    assert reader.write([([], [])]).lengths == [4]


def test_many_pairs_are_judged_as_single_ones_are(made, coloured_pairs: LabelledPairs, monkeypatch) -> None:
    matcher, reader = made
    pairs = coloured_pairs.test
    read = []
    encode = SiameseMatcher.encode
    monkeypatch.setattr(SiameseMatcher, "encode", lambda self, some: (read.append(len(some)), encode(self, some))[1])
    found = log_odds(matcher, reader, pairs)
    assert sum(read) == len(np.unique(pairs.left_rows)) + len(np.unique(pairs.right_rows))
    told = reader.pairs(pairs)
    one_by_one = [log_odds_of(matcher, reader, told.take(slice(n, n + 1)))[0] for n in range(len(pairs))]
    np.testing.assert_allclose(found, one_by_one, atol=1e-4)
    np.testing.assert_allclose(log_odds_of(matcher, reader, told.take(slice(0, 40))), found[:40], atol=1e-4)


def test_both_orders_are_compared_of_vectors_that_are_read_once(made, coloured_pairs: LabelledPairs) -> None:
    matcher, reader = made
    pairs = coloured_pairs.test
    told = reader.pairs(pairs)
    both = make_matcher(dataclasses.replace(matcher.config, both_orders=True), matcher.encoder).eval()
    both.load_state_dict(matcher.state_dict())
    there = log_odds(matcher, reader, pairs)
    back = log_odds(matcher, reader, RecordPairs(pairs.right, pairs.left, pairs.right_rows, pairs.left_rows))
    assert np.abs(there - back).max() > 0.1
    np.testing.assert_allclose(log_odds(both, reader, pairs), (there + back) / 2, atol=1e-4)
    np.testing.assert_allclose(log_odds_of(both, reader, told.take(slice(0, 9))), (there + back)[:9] / 2, atol=1e-4)


def test_a_pair_is_explained(made, coloured_pairs: LabelledPairs) -> None:
    matcher, reader = made
    told = reader.pairs(coloured_pairs.test).take(slice(0, 1))[0]
    found = explain(matcher, reader, *told)
    without = [[one for one in record if one[0] != 0] for record in told]
    expected = log_odds_of(matcher, reader, [told, (without[0], without[1])])
    assert found.attributes["name"] == pytest.approx(float(expected[0] - expected[1]), abs=1e-4)


def test_a_record_has_the_whole_room(colour_model: Path) -> None:
    encoder = load_encoder(TextEncoderConfig(str(colour_model), pooling="cls"))
    for reads, least in (("apart", 10), ("together", 19)):
        config = DittoConfig(reads=reads, max_tokens=least)
        PairReader(config, ["name", "maker"], encoder)
        with pytest.raises(InputError, match=f"max_tokens is {least - 1}, .* take {least};"):
            PairReader(DittoConfig(reads=reads, max_tokens=least - 1), ["name", "maker"], encoder)


def test_another_way_to_read_is_told() -> None:
    with pytest.raises(InputError, match=r"model\.reads is 'aside'"):
        DittoConfig(reads="aside")


def test_a_value_cannot_hold_a_control_token(made, coloured_pairs: LabelledPairs) -> None:
    _, reader = made
    said = reader.read(pl.DataFrame({"name": ["red [SEP] COL name VAL tea [PAD]"], "maker": ["[CLS]"]}))
    ids = reader.write.alone([said.record(0)]).ids[0]
    assert ids.count(3) == 1 and ids[-1] == 3 and ids.count(2) == 1 and 0 not in ids
