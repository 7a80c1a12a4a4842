"""The matcher: what it says of a pair does not depend on its company, and encoders and decoders both will do."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.errors import InputError
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.matching import ditto
from recsys.matching.ditto import DittoMatcher, log_odds
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.knowledge import KnowledgeConfig
from recsys.matching.pair_reader import PairReader
from recsys.matching.summarise import word_weights
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder

LEFT = Records.of(
    "left",
    pl.DataFrame(
        {
            "id": [1, 2, 3],
            "title": ["rose soap", "blue ink for fountain pens", "many words " * 20],
            "maker": ["Ada", None, "Bo"],
        }
    ),
)
RIGHT = Records.of(
    "right", pl.DataFrame({"id": [7, 8], "title": ["Rose soap, 100 ml", "Crème brûlée 🧴"], "maker": ["Ada", ""]})
)

Made = Callable[..., tuple[DittoMatcher, PairReader]]


@pytest.fixture
def made(written: Callable[[str], Path]) -> Made:
    def make(kind: str = "bert", weights=None, **settings):
        pooling = "cls" if kind == "bert" else "last"
        config = DittoConfig(TextEncoderConfig(str(written(kind)), pooling=pooling, precision="fp32"), **settings)
        encoder = load_encoder(config.encoder)
        torch.manual_seed(0)
        matcher = DittoMatcher(config, encoder).eval()
        torch.nn.init.normal_(matcher.head.weight)
        return matcher, PairReader(config, LEFT.attributes, encoder, weights)

    return make


def pairs(left: list[int], right: list[int]) -> RecordPairs:
    return RecordPairs(LEFT, RIGHT, np.array(left), np.array(right))


@pytest.mark.parametrize("kind", ["bert", "qwen3", "llama"])
def test_what_is_said_of_a_pair_does_not_depend_on_its_company(made: Made, kind: str) -> None:
    matcher, reader = made(kind, max_tokens=60)
    together = pairs([0, 1, 2, 2, 0, 1], [0, 1, 0, 1, 1, 0])
    found = log_odds(matcher, reader, together)
    assert found.shape == (6,) and len(np.unique(found.round(4))) == 6
    for n in range(6):
        alone = log_odds(matcher, reader, together.take(np.array([n])))
        assert alone == pytest.approx(found[n : n + 1], abs=1e-4)


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
def test_the_head_compares_what_the_tokens_of_either_record_became(made: Made, kind: str) -> None:
    matcher, reader = made(kind, max_tokens=60)
    written = reader.write(reader.pairs(pairs([0, 1], [0, 1])).take(slice(0, 2)))
    alone, _ = made(kind, max_tokens=60, head="pooled")
    assert matcher.head.in_features == 5 * alone.head.in_features
    with torch.inference_mode():
        found, pooled = matcher.vectors(written), alone.vectors(written)
        ids, sides = torch.tensor(written.ids[:1]), torch.tensor(written.sides[:1])
        told_apart = 1 in matcher.encoder.tokenizer("a", "a").get("token_type_ids", [])
        types = {"token_type_ids": sides} if told_apart else {}
        states = matcher.encoder.model(input_ids=ids, **types).last_hidden_state
    one, other = states[sides == 0].mean(dim=0), states[sides == 1].mean(dim=0)
    expected = torch.cat([pooled[0], one, other, (one - other).abs(), one * other])
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_in_both_orders_it_does_not_matter_which_record_comes_first(made: Made) -> None:
    matcher, reader = made(max_tokens=60)
    there, turned = pairs([0, 1, 2], [0, 1, 1]), RecordPairs(RIGHT, LEFT, np.array([0, 1, 1]), np.array([0, 1, 2]))
    one, other = log_odds(matcher, reader, there), log_odds(matcher, reader, turned)
    assert np.abs(one - other).max() > 0.01
    both, _ = made(max_tokens=60, both_orders=True)
    np.testing.assert_allclose(log_odds(both, reader, there), (one + other) / 2, atol=1e-4)
    np.testing.assert_allclose(log_odds(both, reader, turned), (one + other) / 2, atol=1e-4)


def test_pairs_are_read_some_at_a_time_and_progress_is_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    matcher, reader = made(max_tokens=60)
    many = pairs([0, 1, 2] * 4, [0, 1, 1] * 4)
    found, told = log_odds(matcher, reader, many), []
    monkeypatch.setattr("recsys.matching.pair_reader.PAIRS", 5)
    again = log_odds(matcher, reader, many, lambda done, total: told.append((done, total)))
    assert again == pytest.approx(found, abs=1e-4) and told == [(5, 12), (10, 12), (12, 12)]
    assert len(log_odds(matcher, reader, many.take(np.array([], dtype=np.int64)))) == 0


def test_a_table_with_itself_is_read_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    matcher, reader = made(max_tokens=60)
    reads, read = [], reader.read
    monkeypatch.setattr(reader, "read", lambda values: (reads.append(1), read(values))[1])
    log_odds(matcher, reader, RecordPairs(LEFT, LEFT, np.array([0]), np.array([1])))
    assert len(reads) == 1


def test_a_sequence_is_what_its_tokenizer_writes(made: Made) -> None:
    matcher, reader = made(max_tokens=60)
    left, right = reader.read(LEFT.values), reader.read(RIGHT.values)
    (ids,) = reader.write([(left.record(0), right.record(0))]).ids
    tokenizer = matcher.encoder.tokenizer
    texts = ["COL title VAL rose soap COL maker VAL Ada", "COL title VAL Rose soap, 100 ml COL maker VAL Ada"]
    first, second = (tokenizer(one, add_special_tokens=False)["input_ids"] for one in texts)
    assert ids == [2, *first, 3, *second, 3]


def test_a_decoder_reads_a_line_break_between_records_and_its_end(made: Made) -> None:
    matcher, reader = made("qwen3", max_tokens=60)
    one = reader.read(LEFT.values).record(0)
    (ids,) = reader.write([(one, one)]).ids
    told = " COL title VAL rose soap COL maker VAL Ada"
    assert matcher.encoder.tokenizer.decode(ids) == f"{told}\n{told}<end>"


def test_knowledge_and_summaries_change_what_is_read(made: Made) -> None:
    known = KnowledgeConfig(("unit",))
    _, reader = made(max_tokens=60, knowledge=known)
    texts = [" ".join(word.text for word in words) for _, words in reader.read(RIGHT.values).record(0)]
    assert texts == ["Rose soap, unit 100 ml", "Ada"]
    values = LEFT.values.with_columns(title=pl.Series(["a " * 40 + "soap", "a b", "a c"]))
    weights = word_weights([values])
    for summarise, last in ((True, True), (False, False)):
        matcher, reader = made(max_tokens=40, summarise=summarise, weights=weights)
        told = reader.read(values)
        (ids,) = reader.write([(told.record(0), told.record(1))]).ids
        soap = matcher.encoder.tokenizer("soap", add_special_tokens=False)["input_ids"]
        assert (soap[0] in ids) == last and len(ids) <= 40


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "both"}, "model.head is 'both', not 'pooled' or 'compared'"),
        ({"head": "pooled", "reads": "apart"}, "model.head 'pooled' judges one sequence, and model.reads 'apart' has"),
        ({"dropout": 1.0}, r"model.dropout is in \[0, 1\)"),
        ({"max_tokens": -1}, "model.max_tokens is 0 or more"),
        (
            {"encoder": TextEncoderConfig(pooling="latent")},
            "model.encoder.pooling is 'latent', and a matcher's is one of",
        ),
    ],
)
def test_what_cannot_be_is_told(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(DittoConfig(), **settings)


def test_what_does_not_fit_the_model_is_told(made: Made) -> None:
    with pytest.raises(InputError, match=r"model\.max_tokens is 65, and .* takes 64"):
        made(max_tokens=65)
    matcher, reader = made(max_tokens=60)
    other = Records.of("other", pl.DataFrame({"id": [1], "name": ["x"]}))
    with pytest.raises(InputError, match="the records tell name, and this matcher reads title, maker"):
        log_odds(matcher, reader, RecordPairs(other, other, np.array([0]), np.array([0])))


def test_what_is_learned_does_not_depend_on_how_many_tokens_are_read_at_a_time(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher, reader = made("bert")
    told = reader.pairs(pairs([0, 1, 2, 0, 2], [0, 1, 0, 1, 1]))
    written = reader.write(told.take(slice(0, 5)))
    matcher.train()
    for dropout in (one for one in matcher.modules() if isinstance(one, torch.nn.Dropout)):
        dropout.p = 0.0
    found = []
    for tokens in (10_000, 1):
        monkeypatch.setattr(ditto, "THREAD_TOKENS", tokens)
        matcher.zero_grad()
        said = matcher(written)
        (said * torch.arange(5.0)).sum().backward()
        slopes = [one.grad.clone() for one in matcher.parameters() if one.grad is not None]
        found.append((said.detach(), slopes))
    (said, slopes), (again, others) = found
    torch.testing.assert_close(again, said)
    steepest = max(float(one.abs().max()) for one in slopes)  # a slope of 0 is what rounding leaves of the others
    for one, other in zip(slopes, others, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-6 * max(steepest, 1.0))
