"""Tiny language models with random weights, written as their real counterparts are: no hub, no download."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TEXTS = [
    "rose soap",
    "title: Rose soap with oil; brand: Ada; path: Beauty, Bath, Soaps",
    "a",
    "title: Crème brûlée 🧴 lip balm, שפתון, 唇膏; brand: Bo",
    "blue ink for fountain pens",
    "title: The longest of all, " + "with many words and more words " * 12,
]


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks a hub fails, wherever the tests run."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Short and long, and in several scripts."""
    return TEXTS


def bert_tokenizer() -> Any:
    """Word pieces between [CLS] and [SEP]."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=names))
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    said = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), names, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=found, model_max_length=64, **said)


def decoder_tokenizer(ends: bool) -> Any:
    """Bytes, and at the end of a text a token that says so, as Qwen3-Embedding has it; or nothing around a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<pad>", "<end>"], initial_alphabet=alphabet)
    found.train_from_iterator(TEXTS, trainer)
    if ends:
        found.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=found, pad_token="<pad>", eos_token="<end>", model_max_length=64)


def _written(folder: Path, model: Any, tokenizer: Any) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of tiny models by their kind: "bert", "qwen3", "llama", "mistral" or "t5"."""
    import torch
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    decoder = {**sizes, "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 128}
    made: dict[str, Path] = {}

    def config(kind: str) -> Any:
        if kind == "bert":
            return transformers.BertConfig(**sizes, vocab_size=200, max_position_embeddings=64, initializer_range=0.3)
        if kind == "t5":
            return transformers.T5Config(vocab_size=200, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
        of = {"qwen3": "Qwen3Config", "llama": "LlamaConfig", "mistral": "MistralConfig"}[kind]
        more = {"head_dim": 8} if kind == "qwen3" else {}
        return getattr(transformers, of)(**decoder, **more, initializer_range=0.3, pad_token_id=0, eos_token_id=1)

    def folder(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(0)
            tokenizer = bert_tokenizer() if kind in ("bert", "t5") else decoder_tokenizer(ends=kind == "qwen3")
            model = transformers.AutoModel.from_config(config(kind))
            made[kind] = _written(tmp_path_factory.mktemp(kind), model, tokenizer)
        return made[kind]

    return folder
