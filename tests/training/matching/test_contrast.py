"""What is the same is drawn together before pairs are learned from; what nobody has linked is not driven apart."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from features.errors import InputError
from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records
from recsys.auc import roc_auc
from recsys.matching.ditto_config import DittoConfig
from recsys.matching.pair_reader import PairReader
from recsys.matching.siamese import make_matcher
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder
from training.matching.config import ContrastConfig, MatchTrainConfig
from training.matching.contrast import cosines, pretrain
from training.matching.contrast_batches import ContrastData, LinkedRecords
from training.matching.fit import fit_matcher
from training.optimisers import OptimiserConfig


@pytest.fixture
def config(colour_model: Path) -> MatchTrainConfig:
    return MatchTrainConfig(
        model=DittoConfig(
            TextEncoderConfig(str(colour_model), pooling="mean", precision="fp32"), reads="apart", overlap=False
        ),
        contrast=ContrastConfig(epochs=3, batch_size=16, lr=3e-3, augment="attr_shuffle"),
        optimiser=OptimiserConfig(lr=3e-3, max_epochs=6, validate_every=1),
    )


def made(config: MatchTrainConfig):
    torch.manual_seed(0)
    encoder = load_encoder(config.model.encoder)
    return make_matcher(config.model, encoder), PairReader(config.model, ["name", "maker"], encoder)


def pairs_of(left: Records, right: Records, *rows: tuple[int, int, bool]) -> RecordPairs:
    lefts, rights, labels = zip(*rows, strict=True)
    return RecordPairs(left, right, np.array(lefts), np.array(rights), np.array(labels))


def table(name: str, n: int = 10) -> Records:
    return Records.of(name, pl.DataFrame({"id": range(n), "name": ["red"] * n}))


def test_links_make_groups_and_each_table_a_pool() -> None:
    left, right = table("left"), table("right")
    linked = LinkedRecords.of(pairs_of(left, right, (0, 5, True), (1, 5, True), (2, 6, False), (3, 7, True)))
    assert linked.sides.tolist() == [0, 0, 0, 0, 1, 1, 1] and linked.rows.tolist() == [0, 1, 2, 3, 5, 6, 7]
    groups = linked.groups
    assert groups[0] == groups[1] == groups[4] and groups[3] == groups[6] and len(set(groups)) == 4
    told = [{(int(linked.sides[n]), int(linked.rows[n])) for n in pool} for pool in linked.pools]
    assert told == [{(0, 0), (0, 1), (0, 2), (0, 3), (1, 5), (1, 7)}, {(1, 5), (1, 6), (1, 7), (0, 0), (0, 1), (0, 3)}]


def test_labels_that_contradict_each_other_are_counted() -> None:
    left, right = table("left"), table("right")
    pairs = pairs_of(left, right, (0, 5, True), (1, 5, True), (1, 6, True), (0, 6, False), (2, 6, False))
    assert LinkedRecords.of(pairs).contradictions(pairs) == 1
    own = pairs_of(left, left, (0, 1, True), (1, 2, True), (2, 0, False))
    assert LinkedRecords.of(own).contradictions(own) == 1


def test_one_table_with_itself_is_one_pool() -> None:
    one = table("one")
    linked = LinkedRecords.of(pairs_of(one, one, (0, 1, True), (1, 2, True), (3, 4, False)))
    assert linked.rows.tolist() == [0, 1, 2, 3, 4] and len(linked.pools) == 1 and len(linked.pools[0]) == 5
    assert len(set(linked.groups[:3])) == 1 and len(set(linked.groups)) == 3


def test_each_record_comes_once_a_pool_with_one_of_its_group(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs
) -> None:
    _, reader = made(config)
    data = ContrastData(coloured_pairs.train, reader, config)
    data.trainer = SimpleNamespace(current_epoch=0)
    batches = list(data)
    assert len(batches) == len(data) and sum(len(one.records) for one in batches) == 2 * sum(
        map(len, data.linked.pools)
    )
    assert all(torch.equal(one.groups[::2], one.groups[1::2]) for one in batches)
    assert [one.records.ids for one in batches] == [one.records.ids for one in data]


def test_cosines_come_to_tell_pairs_apart(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path
) -> None:
    matcher, reader = made(config)
    told = reader.pairs(coloured_pairs.test)
    before = roc_auc(told.pairs.labels, cosines(matcher.eval(), reader, told))
    head = matcher.head.weight.clone()
    pretrain(config, matcher, reader, coloured_pairs, tmp_path, lambda line: None, progress=False)
    after = roc_auc(told.pairs.labels, cosines(matcher.eval(), reader, told))
    assert after > 0.98 > before + 0.1 and torch.equal(matcher.head.weight, head)


def test_a_frozen_language_model_stays_as_contrast_left_it(
    config: MatchTrainConfig, coloured_pairs: LabelledPairs, tmp_path: Path
) -> None:
    frozen = dataclasses.replace(config, contrast=dataclasses.replace(config.contrast, freeze=True))
    found = fit_matcher(frozen, coloured_pairs, tmp_path / "frozen", progress=False)
    matcher, reader = made(config)
    pretrain(config, matcher, reader, coloured_pairs, tmp_path / "alone", lambda line: None, progress=False)
    for name, weight in found.fitted.model.encoder.state_dict().items():
        torch.testing.assert_close(weight, matcher.encoder.state_dict()[name])
    assert found.validation["f1"] > 0.9
    free = fit_matcher(config, coloured_pairs, tmp_path / "free", progress=False)
    assert free.validation["f1"] > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, r"contrast\.epochs is 0 or more"),
        ({"batch_size": 1}, r"contrast\.batch_size is at least 2"),
        ({"temperature": 0.0}, r"contrast\.temperature is a positive number"),
        ({"augment": "some"}, r"contrast\.augment is 'some'"),
        ({"freeze": True}, r"contrast\.freeze keeps what contrast\.epochs has taught"),
    ],
)
def test_what_cannot_be_is_told(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ContrastConfig(**settings)
