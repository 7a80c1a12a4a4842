"""Training a matcher: what can be learned is, the same again from the same seed, and what cannot be is told."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.errors import InputError
from features.record_pairs import LabelledPairs, RecordPairs
from features.records import Records
from recsys.matching.ditto import DittoConfig, DittoMatcher, PairReader
from recsys.text_encoders import TextEncoderConfig
from recsys.text_encoders.loading import load_encoder
from training.matching import MatcherTraining
from training.matching_config import MatchTrainConfig
from training.matching_run import train_matcher
from training.optimisers import OptimiserConfig
from training.pair_batches import PairBatches

WORDS = ["col", "name", "maker", "val", "red", "blue", "tea", "cup", "pot", "jar", "ada", "bo", "cy"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights that knows a few words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, *WORDS]
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(words), **sizes, max_position_embeddings=32)).save_pretrained(folder)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data() -> LabelledPairs:
    """Things of two words and a maker; a pair is the same if both say "red", or neither does."""
    random = np.random.default_rng(0)

    def records(name: str) -> Records:
        said = [f"{random.choice(['red', 'blue'])} {random.choice(WORDS[6:10])}" for _ in range(60)]
        makers = random.choice([*WORDS[10:], ""], 60)
        return Records.of(name, pl.DataFrame({"id": range(60), "name": said, "maker": makers}))

    left, right = records("left"), records("right")

    def pairs(n: int) -> RecordPairs:
        rows = random.integers(60, size=(2, n))
        red = [
            one.values["name"].str.starts_with("red").to_numpy()[some]
            for one, some in zip((left, right), rows, strict=True)
        ]
        return RecordPairs(left, right, *rows, red[0] == red[1])

    return LabelledPairs("colours", pairs(600), pairs(100), pairs(100))


@pytest.fixture
def config(tiny: Path) -> MatchTrainConfig:
    optimiser = OptimiserConfig(lr=3e-3, max_epochs=12, validate_every=1, gradient_clip=1.0)
    return MatchTrainConfig(
        DittoConfig(TextEncoderConfig(str(tiny), pooling="cls", precision="fp32")), optimiser=optimiser
    )


def batches_of(config: MatchTrainConfig, data: LabelledPairs, epoch: int = 0) -> PairBatches:
    reader = PairReader(config.model, data.train.left.attributes, load_encoder(config.model.encoder))
    return PairBatches(data.train, reader, config, lambda: epoch)


@pytest.mark.parametrize(
    "settings", [{}, {"augment": "entry_swap"}, {"augment": "attr_shuffle", "mixda": True}], ids=str
)
def test_what_can_be_learned_is(config: MatchTrainConfig, data: LabelledPairs, tmp_path: Path, settings: dict) -> None:
    lines: list[str] = []
    found = train_matcher(dataclasses.replace(config, **settings), data, tmp_path, lines.append, progress=False)
    assert found.figures["f1"] > 0.95 and found.figures["auc"] > 0.97
    assert 0 <= found.figures["calibration_error"] < 0.2
    assert lines[0].startswith("training on 600 pairs, ") and not found.matcher.training


def test_a_seed_gives_the_same_again(config: MatchTrainConfig, data: LabelledPairs, tmp_path: Path) -> None:
    short = dataclasses.replace(config, augment="all", optimiser=dataclasses.replace(config.optimiser, max_epochs=1))
    first, second = (train_matcher(short, data, tmp_path / str(n), progress=False) for n in range(2))
    assert {**first.figures, "seconds_to_fit": 0} == {**second.figures, "seconds_to_fit": 0}
    other = train_matcher(dataclasses.replace(short, seed=1), data, tmp_path / "other", progress=False)
    assert other.figures["auc"] != first.figures["auc"]


def test_an_epoch_has_every_pair_once_and_another_order_than_the_last(
    config: MatchTrainConfig, data: LabelledPairs
) -> None:
    first, again, other = (list(batches_of(config, data, epoch)) for epoch in (0, 0, 1))
    assert len(first) == 19 and [len(one.labels) for one in first].count(24) == 1
    said = [sorted(str(ids) for batch in epoch for ids in batch.pairs.ids) for epoch in (first, again, other)]
    assert said[0] == said[1] == said[2] and len(said[0]) == 600
    orders = [[batch.pairs.ids for batch in epoch] for epoch in (first, again, other)]
    assert orders[0] == orders[1] != orders[2]
    assert sum(float(batch.labels.sum()) for batch in first) == data.train.labels.sum()


def test_labels_stay_with_their_pairs(config: MatchTrainConfig, data: LabelledPairs) -> None:
    red = 4 + WORDS.index("red")
    for settings in ({}, {"augment": "entry_swap", "mixda": True}):
        for batch in batches_of(dataclasses.replace(config, **settings), data):
            for told in filter(None, (batch.pairs, batch.changed)):
                both = [ids.count(red) != 1 for ids in told.ids]
                assert both == batch.labels.bool().tolist()


def test_pairs_of_like_length_are_together(config: MatchTrainConfig, data: LabelledPairs) -> None:
    spread = [np.ptp([len(ids) for ids in batch.pairs.ids]) for batch in batches_of(config, data)]
    assert np.mean(spread) < 1


def test_mixda_lies_between_a_pair_and_its_changed_self(
    config: MatchTrainConfig, data: LabelledPairs, monkeypatch
) -> None:
    mixed = dataclasses.replace(config, augment="span_del", mixda=True)
    encoder = load_encoder(config.model.encoder)
    matcher = DittoMatcher(config.model, encoder)
    reader = PairReader(config.model, data.train.left.attributes, encoder)
    module = MatcherTraining(mixed, matcher, reader, data.validation).eval()
    batch = next(iter(PairBatches(data.train, reader, mixed, lambda: 0)))
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


@pytest.mark.parametrize(("part", "label"), [("train", True), ("validation", False)])
def test_one_label_alone_is_told(
    config: MatchTrainConfig, data: LabelledPairs, tmp_path: Path, part: str, label: bool
) -> None:
    pairs = data.parts[part]
    pairs = dataclasses.replace(pairs, labels=np.full(len(pairs), label))
    which = "the same" if label else "different"
    with pytest.raises(InputError, match=f"pairs for {part} of colours are labelled {which}"):
        train_matcher(config, dataclasses.replace(data, **{part: pairs}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
