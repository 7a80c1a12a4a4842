"""The order of tests; a language model of few colours, and pairs of records that it can learn to tell apart."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.labelled_pairs import LabelledPairs
from features.record_pairs import RecordPairs
from features.records import Records

#: files that take longest; where several processes share the tests, each goes to one of them, and begins it early
LONGEST = ("test_notebooks.py", "test_sharding.py", "test_benchmarks.py", "test_faults.py")

#: what the model knows
WORDS = ["col", "name", "maker", "val", "red", "blue", "tea", "cup", "pot", "jar", "ada", "bo", "cy"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all else as it was."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def colour_words() -> list[str]:
    """What the model knows, from its token 4 on."""
    return WORDS


@pytest.fixture(scope="session")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights that knows a few words."""
    import torch
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


@pytest.fixture(scope="session")
def coloured_pairs() -> LabelledPairs:
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
