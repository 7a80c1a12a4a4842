"""Training a matcher: what can be learned is, the same again from the same seed, and what cannot be is told."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.matching.ditto import DittoMatcher
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder
from training.matching.config import MatchTrainConfig
from training.matching.fit import fit_matcher
from training.matching.module import MatcherTraining
from training.matching.pair_batches import PairBatches
from training.optimisers import OptimiserConfig


@pytest.fixture
def config(colour_model: Path) -> MatchTrainConfig:
    """Of a language model alone."""
    optimiser = OptimiserConfig(lr=3e-3, max_epochs=12, validate_every=1, gradient_clip=1.0)
    encoder = TextEncoderConfig(str(colour_model), pooling="cls", precision="fp32")
    return MatchTrainConfig(model=DittoConfig(encoder, overlap=False), optimiser=optimiser)


def batches_of(config: MatchTrainConfig, data: LabelledPairs, epoch: int = 0) -> PairBatches:
    reader = PairReader(config.model, data.train.left.attributes, load_encoder(config.model.encoder))
    return PairBatches(data.train, reader, config, lambda: epoch)


@pytest.mark.parametrize(
    "settings", [{}, {"augment": "entry_swap"}, {"augment": "attr_shuffle", "mixda": True}], ids=str
)
def test_what_can_be_learned_is(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path, settings: dict
) -> None:
    lines: list[str] = []
    found = fit_matcher(dataclasses.replace(config, **settings), coloured_pairs, tmp_path, lines.append, progress=False)
    assert found.validation["f1"] > 0.95 and found.validation["auc"] > 0.97
    assert 0 <= found.validation["calibration_error"] < 0.2
    assert lines[0].startswith("training on 600 pairs, ") and not found.fitted.model.training
    assert found.fitted.attributes == ["name", "maker"] and found.fitted.weights is None


def test_what_a_language_model_cannot_read_is_learned_from_what_records_share(
    config: MatchTrainConfig, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    codes = random.permutation(np.arange(1000, 9000, 30))[:240]  # none is among the model's words
    other = np.where(random.random(240) < 0.5, codes, codes + 1)
    left, right = (
        Records.of(name, pl.DataFrame({"id": range(240), "name": [f"tea x{one}" for one in said]}))
        for name, said in (("left", codes), ("right", other))
    )
    rows = np.arange(240)
    data = LabelledPairs.drawn("codes", RecordPairs(left, right, rows, rows, codes == other))
    short = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, max_epochs=1))
    alone = fit_matcher(short, data, tmp_path / "alone", progress=False)
    lines: list[str] = []
    model = dataclasses.replace(config.model, overlap=True)
    whole = dataclasses.replace(short, model=model)
    joined, again = (fit_matcher(whole, data, tmp_path / str(n), lines.append, progress=False) for n in range(2))
    np.testing.assert_array_equal(again.fitted.log_odds, joined.fitted.log_odds)
    assert alone.validation["f1"] < 0.9 and joined.validation["f1"] > 0.95
    assert "learning what records share and lack" in lines
    assert joined.fitted.model.overlap is not None and alone.fitted.model.overlap is None


def test_a_language_model_that_has_come_apart_is_told(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path
) -> None:
    wild = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, lr=1e30, max_epochs=2))
    with pytest.raises(InputError, match=r"lower optimiser\.lr"):
        fit_matcher(wild, coloured_pairs, tmp_path, progress=False)


def test_a_seed_gives_the_same_again(config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path) -> None:
    short = dataclasses.replace(config, augment="all", optimiser=dataclasses.replace(config.optimiser, max_epochs=1))
    first, second = (fit_matcher(short, coloured_pairs, tmp_path / str(n), progress=False) for n in range(2))
    assert first.validation == second.validation
    np.testing.assert_array_equal(first.fitted.log_odds, second.fitted.log_odds)
    other = fit_matcher(dataclasses.replace(short, seed=1), coloured_pairs, tmp_path / "other", progress=False)
    assert other.validation["auc"] != first.validation["auc"]


def test_an_epoch_has_every_pair_once_and_another_order_than_the_last(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs
) -> None:
    first, again, other = (list(batches_of(config, coloured_pairs, epoch)) for epoch in (0, 0, 1))
    assert len(first) == 19 and [len(one.labels) for one in first].count(24) == 1
    said = [sorted(str(ids) for batch in epoch for ids in batch.pairs.ids) for epoch in (first, again, other)]
    assert said[0] == said[1] == said[2] and len(said[0]) == 600
    orders = [[batch.pairs.ids for batch in epoch] for epoch in (first, again, other)]
    assert orders[0] == orders[1] != orders[2]
    assert sum(float(batch.labels.sum()) for batch in first) == coloured_pairs.train.labels.sum()


def test_labels_stay_with_their_pairs(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, colour_words: list[str]
) -> None:
    red = 4 + colour_words.index("red")
    for settings in ({}, {"augment": "entry_swap", "mixda": True}):
        for batch in batches_of(dataclasses.replace(config, **settings), coloured_pairs):
            for told in filter(None, (batch.pairs, batch.changed)):
                both = [ids.count(red) != 1 for ids in told.ids]
                assert both == batch.labels.bool().tolist()


def test_pairs_of_like_length_are_together(config: MatchTrainConfig, coloured_pairs: LabelledPairs) -> None:
    spread = [np.ptp([len(ids) for ids in batch.pairs.ids]) for batch in batches_of(config, coloured_pairs)]
    assert np.mean(spread) < 1


def test_mixda_lies_between_a_pair_and_its_changed_self(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, monkeypatch
) -> None:
    mixed = dataclasses.replace(config, augment="span_del", mixda=True)
    encoder = load_encoder(config.model.encoder)
    matcher = DittoMatcher(config.model, encoder)
    reader = PairReader(config.model, coloured_pairs.train.left.attributes, encoder)
    module = MatcherTraining(mixed, matcher, reader, coloured_pairs.validation).eval()
    batch = next(iter(PairBatches(coloured_pairs.train, reader, mixed, lambda: 0)))
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self: torch.tensor(0.25))
    with torch.no_grad():
        found = module._vectors(batch)
        expected = 0.25 * matcher.vectors(batch.pairs) + 0.75 * matcher.vectors(batch.changed)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "swap"}, "augment is 'swap', not one of none"),
        ({"calibration": "beta"}, "calibration is 'beta'"),
        ({"mixda": True}, "augment is 'none', which changes nothing"),
        ({"mixda_alpha": 0.0}, "mixda_alpha is a positive number"),
        ({"batch_size": 0}, "batch_size is at least 1"),
        ({"seed": -1}, "seed is 0 or more"),
    ],
)
def test_what_cannot_be_is_told(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MatchTrainConfig(**settings)


@pytest.mark.parametrize(("part", "label"), [("train", True), ("validation", False), ("test", True)])
def test_one_label_alone_is_told(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path, part: str, label: bool
) -> None:
    pairs = coloured_pairs.parts[part]
    pairs = dataclasses.replace(pairs, labels=np.full(len(pairs), label))
    which = "the same" if label else "different"
    with pytest.raises(InputError, match=f"pairs for {part} of colours are labelled {which}"):
        fit_matcher(config, dataclasses.replace(coloured_pairs, **{part: pairs}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
